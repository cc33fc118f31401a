/* Stores new contents of 10,000 bytes and reads each again, NUMBER of them, for whoever counts what that costs.
 * usage: cost HOST BUCKET ACCESSKEYID SECRETACCESSKEY NUMBER */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rts3.h"

#define SIZE 10000

static int check(rts3_status status, rts3_error *error)
{
    if (status == RTS3_OK)
        return 1;
    fprintf(stderr, "%s\n", rts3_error_message(error));
    rts3_error_free(error);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 64;
    const char *options[] = {"Host", argv[1], "Bucket", argv[2], "AccessKeyId", argv[3], "SecretAccessKey", argv[4]};
    static uint8_t content[SIZE];
    rts3_handle *handle;
    rts3_error *error = NULL;
    if (!check(rts3_open(options, 4, &handle, &error), error))
        return 1;
    for (long number = atol(argv[5]); number > 0; number--) {
        char key[65];
        uint8_t *data;
        size_t size;
        memcpy(content, &number, sizeof number);
        if (!check(rts3_sha256(content, SIZE, key, &error), error)
            || !check(rts3_store(handle, key, content, SIZE, NULL, 0, &error), error)
            || !check(rts3_get(handle, key, 0, NULL, NULL, &data, &size, &error), error))
            return 1;
        if (size != SIZE || memcmp(data, content, SIZE))
            return 2;
        rts3_free(data);
    }
    return 0;
}
