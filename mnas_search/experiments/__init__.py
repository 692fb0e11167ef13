"""Everything with a folder, a journal and resume: searches, trainings and studies."""
