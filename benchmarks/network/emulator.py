#!/usr/bin/env python3
"""A path between two network namespaces, in user space: delay, loss, reordering, duplication, a bottleneck.

Makes two TUN devices, whose names are the arguments; whoever started it moves them into their namespaces.
Packets that one end sends come out at the other. What the path does to them is set by lines of JSON on
stdin, each answered by "ok"; randomness is seeded. TUN hands out whole packets with valid checksums and no
segmentation offload, so TCP and QUIC meet the same path. Ends with stdin.
"""
import fcntl
import gc
import heapq
import json
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x0001 | 0x1000
QUEUE_BYTES_MAX = 256 * 1024


def open_tun(name):
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_PI))
    return descriptor


def main():
    # No real-time priority: waking before both ends for every packet took most of a busy machine's time from them.
    gc.disable()
    ends = [open_tun(name) for name in sys.argv[1:3]]
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    path = {"delayMs": 0, "loss": 0, "reorder": 0, "duplicate": 0, "rateMbit": 0, "down": False}
    chance = random.Random(1)
    due = []
    number = 0
    # When the bottleneck towards an end is free again.
    free = dict.fromkeys(ends, 0.0)
    os.set_blocking(0, False)
    commands = b""
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, _, target, packet = heapq.heappop(due)
            try:
                os.write(target, packet)
            except OSError:
                pass  # The device is down: the packet is lost.
        wait = max(0, due[0][0] - now) if due else 1
        readable, _, _ = select.select([*ends, 0], [], [], wait)
        for source in readable:
            if source == 0:
                data = os.read(0, 65536)
                if not data:
                    return
                commands += data
                while b"\n" in commands:
                    line, commands = commands.split(b"\n", 1)
                    path.update(json.loads(line))
                    print("ok", flush=True)
                continue
            for _ in range(64):
                try:
                    packet = os.read(source, 65536)
                except (BlockingIOError, OSError):
                    break
                if path["down"] or chance.random() < path["loss"]:
                    continue
                target = other[source]
                now = time.monotonic()
                at = now
                if path["rateMbit"]:
                    rate = path["rateMbit"] * 125000
                    if (free[target] - now) * rate > QUEUE_BYTES_MAX:
                        continue
                    free[target] = max(free[target], now) + len(packet) / rate
                    at = free[target]
                at += path["delayMs"] / 1000
                if chance.random() < path["reorder"]:
                    at += 0.01
                copies = 2 if chance.random() < path["duplicate"] else 1
                for _ in range(copies):
                    number += 1
                    heapq.heappush(due, (at, number, target, packet))


main()
