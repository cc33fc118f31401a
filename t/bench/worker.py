"""As worker.pl, for boto3:  worker.py ENDPOINT BUCKET"""

import os
import sys
import time

import boto3
from botocore.config import Config

endpoint, bucket = sys.argv[1:3]
s3 = boto3.client(
    "s3",
    endpoint_url=endpoint,
    region_name="us-east-1",
    config=Config(s3={"addressing_style": "path"}),
)


def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


for line in sys.stdin:
    operation, *words = line.split()
    content = b""
    if operation == "store":
        with open(words.pop(0), "rb") as file:
            content = file.read()
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")
    memory, before, start = status("VmRSS"), time.process_time(), time.monotonic()
    if operation == "store":
        s3.put_object(Bucket=bucket, Key=words[0], Body=content)
    else:
        content = s3.get_object(Bucket=bucket, Key=words[0])["Body"].read()
    end = time.monotonic()
    print(f"{end - start:.6f} {time.process_time() - before:.6f} {status('VmHWM') - memory} {len(content)}", flush=True)
