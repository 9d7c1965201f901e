"""CRMs that tell about deals by webhook: who may speak, what was said, what it means."""
