"""What a run reads and writes, as events of OpenLineage (https://openlineage.io), where its variables are set."""
