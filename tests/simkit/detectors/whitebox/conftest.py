from tests.simkit.search.conftest import _one_thread as _one_thread
