# SPDX-License-Identifier: MIT
"""The checker of the documents notices what it is there to notice."""

import pathlib
import shutil
import tempfile
import unittest

import check_docs

GOODBYE = "docs/packets/0x0A_goodbye.md"


class Checker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vectors = check_docs.load_vectors()

    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        shutil.copytree(check_docs.ROOT / "docs" / "packets", self.root / "docs" / "packets")
        shutil.copytree(check_docs.ROOT / "docs" / "protocols", self.root / "docs" / "protocols")

    def edit(self, path, old, new):
        text = (self.root / path).read_text(encoding="utf-8")
        self.assertIn(old, text)
        (self.root / path).write_text(text.replace(old, new, 1), encoding="utf-8")

    def packets(self):
        return check_docs.check_packets(self.root, self.vectors)

    def links(self, text):
        page = self.root / "page.md"
        page.write_text(text, encoding="utf-8")
        return check_docs.check_links(self.root, [page])

    def test_copy_is_clean(self):
        self.assertEqual(self.packets(), [])

    def test_changed_byte_in_example(self):
        self.edit(GOODBYE, "   5  0008 ", "   5  0009 ")
        self.assertEqual(len(self.packets()), 1)

    def test_wrong_offset(self):
        self.edit(GOODBYE, "   5  0008 ", "   6  0008 ")
        self.assertEqual(len(self.packets()), 1)

    def test_line_that_lacks(self):
        self.edit(GOODBYE, "  31  6f6e\n", "")
        self.assertEqual(len(self.packets()), 1)

    def test_example_of_nothing(self):
        self.edit(GOODBYE, "demo-aes256gcm server 10", "demo-aes256gcm server 99")
        self.assertEqual(len(self.packets()), 1)

    def test_example_of_unknown_session(self):
        self.edit(GOODBYE, "session demo-aes256gcm server 10", "session demo server 10")
        self.assertEqual(len(self.packets()), 1)

    def test_value_from_nowhere(self):
        self.edit("docs/protocols/handshake.md", "`df298ac7c60a4287`", "`df298ac7c60a4288`")
        self.assertEqual(len(self.packets()), 1)

    def test_page_that_lacks(self):
        (self.root / GOODBYE).unlink()
        self.assertEqual(len(self.packets()), 1)

    def test_page_of_nothing(self):
        (self.root / "docs/packets/0x0C_other.md").write_text("# 0x0C Other\n", encoding="utf-8")
        self.assertEqual(len(self.packets()), 1)

    def test_other_title(self):
        self.edit(GOODBYE, "# 0x0A Goodbye", "# 0x0B Goodbye")
        self.assertEqual(len(self.packets()), 1)

    def test_good_links(self):
        text = "# A b, c\n[x](docs/packets) [y](#a-b-c) [z](%s#rules) [w](https://example.org/)\n" % GOODBYE
        self.assertEqual(self.links(text), [])

    def test_links_in_code_are_text(self):
        self.assertEqual(self.links("    [x](nowhere)\n\n```\n[x](nowhere)\n```\n"), [])

    def test_broken_links(self):
        for target in ("nowhere.md", "#nowhere", GOODBYE + "#nowhere", "..", "docs/packets#rules"):
            self.assertEqual(len(self.links("# A\n[x](%s)\n" % target)), 1, target)


if __name__ == "__main__":
    unittest.main()
