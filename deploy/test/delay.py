# SPDX-License-Identifier: MIT
"""A TCP proxy that hands on what the server says some time later.

In order and without losing throughput: what comes within the delay is on its
way at the same time, as on a long wire.
"""

import asyncio
import threading


class DelayProxy:
    """Clients of `port` talk to 127.0.0.1:`server_port`, `delay` seconds away."""

    def __init__(self, port, server_port, delay):
        self.server_port, self.delay = server_port, delay
        self._ending = False
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", port))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self):
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self):
        self._ending = True
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client_reader, client_writer):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            client_writer.close()
            return
        try:
            await asyncio.gather(self._pass(client_reader, writer),
                                 self._pass_later(reader, client_writer))
        finally:
            if self._ending:  # else what is on its way back would be lost
                writer.close()
                client_writer.close()

    async def _pass(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def _pass_later(self, reader, writer):
        try:
            while data := await reader.read(65536):
                self._loop.call_later(self.delay, writer.write, data)
        except OSError:
            pass
        self._loop.call_later(self.delay, writer.close)
