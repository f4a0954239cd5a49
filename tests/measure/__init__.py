"""Tools that measure the product on real processes. No test; nothing here decides anything."""
