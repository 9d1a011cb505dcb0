"""Tests that may be looked at after every observation and keep a stated rate of false alarms."""
