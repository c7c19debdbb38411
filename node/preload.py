"""What the fork server imports for its children, beside numpy and cv2: a new process is ready 0.1 s of CPU time sooner.

Nothing here may do anything when it is imported: no thread, no open file, no call of OpenCV. The shared-memory library
is left to each process, and so are the modules that import it.
"""

# ruff: noqa: F401 - they are imported to be there
import handlers.codec
import handlers.pictures
import node.gateway.care
import node.gateway.index
import node.gateway.outcomes
import node.gateway.server
import node.gateway.tasks
import node.gateway.window
import node.processes.confinement
import node.targets
import node.transport.hop_link
import node.transport.incarnations
import node.worker.join
import node.worker.order
import node.worker.pictures
