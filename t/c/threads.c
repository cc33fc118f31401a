/* Eight threads, fifty calls each, with one handle and with a handle each.
 * usage: threads same|each HOST CAFILE BUCKET ACCESSKEYID SECRETACCESSKEY
 * Says how many calls went well; what did not is a line on standard error. */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rts3.h"

enum { THREADS = 8, CALLS = 50 };

struct work {
    rts3_handle *handle;
    int number;
};

static atomic_int good = 0;

static void call(rts3_status status, rts3_error *error, int same, const char *what)
{
    if (status == RTS3_OK && same)
        good++;
    else
        fprintf(stderr, "%s: %s\n", what, status == RTS3_OK ? "other bytes" : rts3_error_message(error));
    rts3_error_free(error);
}

/* Three kinds of calls take turns; contents differ in bytes and size. */
static void *work(void *argument)
{
    const struct work *work = argument;
    static const size_t sizes[] = {1, 900, 40000, 300000};
    uint8_t *content = malloc(300000);
    size_t size = 0;
    char key[65];
    for (int i = 0; i < CALLS; i++) {
        rts3_error *error = NULL;
        rts3_status status;
        uint8_t *data = NULL;
        size_t got = 0;
        uint64_t length = 0;
        switch (i % 3) {
        case 0:
            size = sizes[(i / 3 + work->number) % 4];
            for (size_t byte = 0; byte < size; byte++)
                content[byte] = (uint8_t)(byte * 31 + (byte >> 8) + (size_t)(i * THREADS + work->number));
            rts3_sha256(content, size, key, NULL);
            status = rts3_store(work->handle, key, content, size, NULL, 0, &error);
            call(status, error, 1, "store");
            break;
        case 1:
            status = rts3_get(work->handle, key, 0, NULL, NULL, &data, &got, &error);
            call(status, error, got == size && data && !memcmp(data, content, size), "get");
            rts3_free(data);
            break;
        default:
            status = rts3_head(work->handle, key, 0, &length, NULL, &error);
            call(status, error, length == size, "head");
        }
    }
    free(content);
    return NULL;
}

static int tasks(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    if (argc != 7)
        return 2;
    int each = !strcmp(argv[1], "each");
    pthread_t threads[THREADS];
    struct work works[THREADS];
    for (int i = 0; i < THREADS; i++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "t%d/", i);
        const char *options[] = {"Host", argv[2], "CAFile", argv[3], "Bucket", argv[4], "AccessKeyId", argv[5],
                                 "SecretAccessKey", argv[6], "Prefix", each ? prefix : NULL};
        works[i].number = i;
        if (rts3_open(options, 6, &works[i].handle, NULL) != RTS3_OK)
            return 3;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, &works[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    /* A thread that has looked a name up ends by itself, shortly after the call. */
    for (int i = 0; i < 200 && tasks() > 1; i++)
        usleep(10000);
    printf("%d calls, %d threads left\n", good, tasks());
    for (int i = 0; i < THREADS; i++)
        rts3_close(works[i].handle, NULL);
    return 0;
}
