"""Compiled code and the functions that call it; README.md says what each kernel gains."""
