"""Methods of distillation against the student alone, for every task."""
