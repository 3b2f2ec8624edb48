"""Result files of other people's tools, turned into weights and a statement of the truth."""
