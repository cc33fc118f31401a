/* What a presigned link costs in the library: prints nanoseconds, the least of several rounds. */

#include <stdio.h>
#include <time.h>

#include "rts3.h"

#define ROUNDS 10
#define LINKS 5000

static const char *const KEY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(void)
{
    const char *options[] = {
        "Bucket",          "files",
        "Region",          "eu-west-1",
        "DirectLink",      "presigned",
        "AccessKeyId",     "AKIAIOSFODNN7EXAMPLE",
        "SecretAccessKey", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    };
    rts3_handle *handle = NULL;
    rts3_error *error = NULL;
    long long least = 0;
    if (rts3_open(options, sizeof options / sizeof *options / 2, &handle, &error) != RTS3_OK) {
        fprintf(stderr, "rts3_open: %s\n", rts3_error_message(error));
        return 1;
    }
    for (int round = 0; round < ROUNDS; round++) {
        long long start = now();
        for (int i = 0; i < LINKS; i++) {
            char *url = NULL;
            if (rts3_direct_url(handle, KEY, "Scan from the office 12.png", "image/png", "inline", &url, &error) != RTS3_OK) {
                fprintf(stderr, "rts3_direct_url: %s\n", rts3_error_message(error));
                return 1;
            }
            rts3_free(url);
        }
        long long spent = (now() - start) / LINKS;
        if (least == 0 || spent < least) {
            least = spent;
        }
    }
    rts3_close(handle, &error);
    printf("%lld\n", least);
    return 0;
}
