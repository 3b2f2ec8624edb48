"""The wire formats of image classification services, as pure functions between bytes and images, answers and errors.

Both sides use them: `simkit serve` reads questions and writes answers, a remote oracle the other way round. Nothing
here opens a connection.
"""
