"""The fakes: as transactional, as unreliable and as strict as the real servers."""
