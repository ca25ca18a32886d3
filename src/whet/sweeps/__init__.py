"""Many runs of one question: settings x seeds, each run in a process of its own, and what they say together."""
