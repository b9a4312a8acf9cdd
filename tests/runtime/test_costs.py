"""The cost curve: measured once, kept, and found again under the same conditions."""


def test_a_small_context_does_not_narrow_the_drafts_of_a_large_one(load_tiny, tmp_path):
    """What the small one could not measure must not be taken for all there is."""
    store = tmp_path / "store.db"
    load_tiny(store=store, n_ctx=4).close()
    assert max(load_tiny(store=store, n_ctx=512).costs) >= 8
