"""A prior that is trained on the user's data before a search: `run --data D --prior supernet`.

plan       lengths: how many members, steps and networks
networks   which networks are read
source     the evaluator that is named, and the plan of its members
training   the jobs that train the members, with their journalled results
readings   what the members have read, as the journal has it
phase      the phase of a run: measure, plan, train, read, fit
agreement  how far members, prior, counts and real trainings agree
"""
