"""The client against a running node: ``python3 test_client.py URL WRITER_KEY READER_KEY``."""

import sys
import unittest

from sqlite_vector import Client, NodeError, Record, Unreachable

URL, WRITER, READER = sys.argv[1:4]


class ClientTest(unittest.TestCase):
    def setUp(self) -> None:
        self.client = Client(URL, WRITER)
        self.shard = self.client.create_shard("python/notes", 3, metric="l2", model="by hand")

    def tearDown(self) -> None:
        self.client.drop_shard("python/notes")

    def test_records_make_the_round_trip(self) -> None:
        record = Record("ä/1?", {"n": 1, "tags": ["a"]}, "first text", [1.0, 0.5, 0.25])
        self.assertEqual(self.shard.upsert([record, {"id": "b", "embedding": [0, 1, 0]}]), 2)
        self.assertEqual(self.shard.get(["ä/1?", "missing"]), [record, None])
        self.assertEqual(self.shard.count(), 2)
        self.assertEqual(self.shard.count({"n": 1}), 1)

    def test_searches_find_by_vector_words_and_both(self) -> None:
        self.shard.upsert(
            [
                Record("a", {"kind": "x"}, "harbour", [1, 0, 0]),
                Record("b", {"kind": "y"}, "orchard", [0, 1, 0]),
            ]
        )
        nearest = self.shard.query([1, 0.1, 0], k=1)
        self.assertEqual([found.id for found in nearest], ["a"])
        self.assertAlmostEqual(nearest[0].distance or 0, 0.1, places=5)
        self.assertEqual([found.id for found in self.shard.query(text="orchard")], ["b"])
        both = self.shard.query([1, 0, 0], text="orchard", filter={"kind": "y"})
        self.assertEqual([found.id for found in both], ["b"])
        self.assertEqual([found.id for found in self.shard.query([1, 0, 0], exact=True)], ["a", "b"])
        with self.assertRaises(ValueError):
            self.shard.query()

    def test_many_records_are_written_and_read_in_pages(self) -> None:
        many = (Record(f"r{index:05}", {}, None, [index, 1, 2]) for index in range(2_500))
        self.assertEqual(self.shard.upsert(many), 2_500)
        ids = [record.id for record in self.shard.records(page=700)]
        self.assertEqual(len(ids), 2_500)
        self.assertEqual(ids, sorted(ids))
        self.assertEqual(self.shard.delete([f"r{index:05}" for index in range(1_500)]), 1_500)
        self.assertEqual(self.shard.count(), 1_000)

    def test_records_are_updated_and_deleted(self) -> None:
        self.shard.upsert([Record("a", {"n": 1, "m": 1}, "text", [1, 0, 0])])
        self.shard.update("a", metadata={"n": 2}, embedding=[0, 0, 1])
        (record,) = self.shard.get(["a"])
        assert record is not None
        self.assertEqual(record.metadata, {"n": 2, "m": 1})
        self.assertEqual(record.text, "text")
        self.assertEqual(self.shard.delete(filter={"n": 2}), 1)
        with self.assertRaises(ValueError):
            self.shard.delete()

    def test_refusals_have_the_code_of_the_node(self) -> None:
        self.shard.insert([Record("a", {}, None, [1, 0, 0])])
        with self.assertRaises(NodeError) as there:
            self.shard.insert([Record("a", {}, None, [1, 0, 0])])
        self.assertEqual(there.exception.code, "STORE_RECORD_EXISTS")
        with self.assertRaises(NodeError) as short:
            self.shard.upsert([Record("b", {}, None, [1, 0])])
        self.assertEqual(short.exception.code, "STORE_DIMENSION_MISMATCH")
        with self.assertRaises(NodeError) as forbidden:
            Client(URL, READER).shard("python/notes").delete(["a"])
        self.assertEqual(forbidden.exception.status, 403)
        with self.assertRaises(NodeError) as stranger:
            Client(URL).shards()
        self.assertEqual(stranger.exception.status, 401)

    def test_shards_are_listed_with_their_state(self) -> None:
        (state,) = [state for state in self.client.shards() if state.name == "python/notes"]
        self.assertEqual((state.dimension, state.metric, state.model, state.count), (3, "l2", "by hand", 0))

    def test_a_node_that_is_away_is_said_to_be(self) -> None:
        with self.assertRaises(Unreachable):
            Client("http://127.0.0.1:9", attempts=1).shards()
        with self.assertRaises(ValueError):
            Client("127.0.0.1:8080")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
