"""The banks that settle: enrolment, and the worker that sends instructions and reads the banks' files."""
