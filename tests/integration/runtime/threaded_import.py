"""What a fork server must not import."""

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
