from __future__ import annotations

session = {"whispered": "to-nobody-else"}
