"""The distributed back ends against real servers: what holds for each of them is one test."""
