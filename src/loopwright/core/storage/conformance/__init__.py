"""The tests that every adapter of a storage port passes, shipped so that strangers can hold their own adapters to them.

Each class is a contract, each test one clause of it. Subclass it as ``Test…`` and give the fixture it names::

    class TestMyEventLog(EventLogConformance):
        @pytest.fixture
        def reopen(self, tmp_path):
            return lambda: MyEventLog(tmp_path)

These modules need pytest; nothing else in the package does.
"""
