"""Graph -> Plan: what is decided once, before any run."""
