"""The chain of a ranker: data, teachers, student, exports; see `config`."""
