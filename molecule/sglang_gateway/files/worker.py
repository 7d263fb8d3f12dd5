"""Stands in for an SGLang server behind a gateway: chats, streams slowly, tells its load. Usage: worker.py PORT KEY-FILE."""

import http.server
import json
import sys
import threading
import time
from pathlib import Path

PORT, KEY = int(sys.argv[1]), Path(sys.argv[2]).read_text("utf-8").strip()
MODEL = "MiniMaxAI/MiniMax-M2.7"
WORDS = [f"word{number} " for number in range(12)]
running = 0
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_words):
        """Nothing: the journal is searched for keys."""

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refused(self):
        if self.headers.get("Authorization") == f"Bearer {KEY}":
            return False
        self.answer(401, {"error": "Unauthorized"})
        return True

    def do_GET(self):
        path = self.path.split("?")[0]
        if path in ("/health", "/health_generate"):
            return self.answer(200, {})
        if self.refused():
            return None
        known = {
            "/model_info": {"model_path": MODEL, "tokenizer_path": MODEL, "is_generation": True},
            "/server_info": {"model_path": MODEL, "served_model_name": MODEL, "tp_size": 1, "dp_size": 1},
            "/v1/models": {"object": "list", "data": [{"id": MODEL, "object": "model"}]},
            "/v1/loads": {"loads": [{"num_running_reqs": running, "num_waiting_reqs": 0}]},
        }
        return self.answer(200 if path in known else 404, known.get(path, {}))

    def do_POST(self):
        global running
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refused():
            return
        with lock:
            running += 1
        try:
            self.chat(request)
        finally:
            with lock:
                running -= 1

    def chat(self, request):
        shared = {"id": "1", "created": 1, "model": MODEL}
        usage = {"prompt_tokens": 5, "completion_tokens": len(WORDS), "total_tokens": 5 + len(WORDS)}
        if not request.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": f"{PORT}"}, "finish_reason": "stop"}
            return self.answer(200, {**shared, "object": "chat.completion", "choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in [*WORDS, None]:
            choice = {"index": 0, "delta": {"content": word or ""}, "finish_reason": None if word else "stop"}
            self.event({**shared, "object": "chat.completion.chunk", "choices": [choice]})
            time.sleep(0.5 if "slowly" in json.dumps(request) else 0.02)
        if (request.get("stream_options") or {}).get("include_usage"):
            self.event({**shared, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        self.event(None)
        self.wfile.write(b"0\r\n\r\n")
        return None

    def event(self, document):
        body = f"data: {json.dumps(document) if document else '[DONE]'}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        self.wfile.flush()


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
