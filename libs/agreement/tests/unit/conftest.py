from hypothesis import settings

# A busy machine is no failure of the code.
settings.register_profile("agreement", deadline=None, max_examples=60)
settings.load_profile("agreement")
