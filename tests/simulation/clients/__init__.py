"""What clients do, one file a capability: functions that a workload composes."""
