"""Import kfp as its executor does: TFX brings protos that are older than those of kfp's compiler."""

import os

os.environ["_KFP_RUNTIME"] = "true"
