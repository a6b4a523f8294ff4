"""Side-by-side timing: operators and networks of npconv against the same work in other frameworks, in one run.

Each framework has a process of its own with the same number of threads. Values are compared before anything is timed;
then the processes take turns, round after round, and what is reported is the ratio of two times of one round: absolute
times on a shared machine mean little. `npconv bench` is the command.
"""
