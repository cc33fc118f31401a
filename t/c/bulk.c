/* Many contents at once, by a program that knows nothing but the header.
 * usage: bulk HOST CAFILE BUCKET ACCESSKEYID SECRETACCESSKEY COUNT
 * Stores COUNT contents, lists them, and says how many went well; what did not is a line on standard error. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rts3.h"

static void fail(const char *what, rts3_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error ? rts3_error_message(error) : "no error");
    rts3_error_free(error);
    exit(1);
}

/* The threads of this process, and how many of them take a signal. */
static int threads(int *deaf)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    *deaf = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[300], line[200];
        unsigned long long mask = 0;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file))
            sscanf(line, "SigBlk: %llx", &mask);
        if (file)
            fclose(file);
        count++;
        *deaf += (mask >> 14) & 1; /* SIGTERM */
    }
    if (dir)
        closedir(dir);
    return count;
}

/* Takes one result; 0: none has come. */
static int take(rts3_bulk *bulk, char (*keys)[65], uint64_t *outstanding)
{
    int32_t found = 0, existed = 0;
    uint64_t id = 0;
    char key[65];
    rts3_error *failure = NULL, *error = NULL;
    if (rts3_bulk_wait(bulk, 1000, &found, &id, key, &existed, &failure, outstanding, &error) != RTS3_OK)
        fail("rts3_bulk_wait", error);
    if (!found)
        return 0;
    if (failure)
        fail("a content", failure);
    if (existed)
        fail("a content that was there before", NULL);
    memcpy(keys[id], key, 65);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 7)
        return 2;
    const char *options[] = {"Host",        argv[1], "CAFile",          argv[2][0] ? argv[2] : NULL, "Bucket", argv[3],
                             "AccessKeyId", argv[4], "SecretAccessKey", argv[5]};
    unsigned count = (unsigned)atoi(argv[6]), good = 0, listed = 0;
    rts3_handle *handle = NULL;
    rts3_bulk *bulk = NULL, *stranger = (rts3_bulk *)&good;
    rts3_error *error = NULL;
    uint64_t outstanding = 0;
    int deaf = 0, most = 0;
    char(*keys)[65] = calloc(count, 65);
    if (rts3_open(options, 5, &handle, &error) != RTS3_OK)
        fail("rts3_open", error);
    if (rts3_bulk_open(handle, 8, 100000, &bulk, &error) != RTS3_OK)
        fail("rts3_bulk_open", error);
    if (threads(&deaf) != 1)
        fail("threads before the first content", NULL);
    for (unsigned i = 0; i < count; i++) {
        char content[2000];
        int32_t accepted = 0;
        size_t size = (size_t)snprintf(content, sizeof content, "content %u", i) + i % 1900;
        memset(content + strlen(content), 'x', sizeof content - strlen(content));
        while (!accepted) {
            if (rts3_bulk_submit(bulk, i, NULL, (uint8_t *)content, size, "text/plain", &accepted, &error) != RTS3_OK)
                fail("rts3_bulk_submit", error);
            if (!accepted)
                take(bulk, keys, &outstanding);
        }
        int now = threads(&deaf);
        if (deaf != now - 1)
            fail("a thread takes signals", NULL);
        most = now > most ? now : most;
    }
    do
        take(bulk, keys, &outstanding);
    while (outstanding);

    /* In a child it is no use, and does no harm. */
    pid_t child = fork();
    if (child == 0) {
        int32_t accepted;
        _exit(rts3_bulk_submit(bulk, 0, NULL, NULL, 0, NULL, &accepted, NULL) == RTS3_ARGUMENT &&
                      rts3_bulk_close(bulk, NULL) == RTS3_ARGUMENT
                  ? 0
                  : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    if (status)
        fail("a forked child", NULL);

    if (rts3_bulk_close(bulk, &error) != RTS3_OK)
        fail("rts3_bulk_close", error);
    if (threads(&deaf) != 1)
        fail("threads after the end", NULL);
    rts3_bulk *wrong[] = {NULL, stranger, bulk};
    for (int i = 0; i < 3; i++)
        if (rts3_bulk_close(wrong[i], NULL) != RTS3_ARGUMENT)
            fail("closing what is not open", NULL);

    char after[65] = "", *objects = NULL;
    int32_t more = 1;
    while (more) {
        if (rts3_list(handle, after[0] ? after : NULL, 0, &objects, &more, &error) != RTS3_OK)
            fail("rts3_list", error);
        for (char *line = strtok(objects, "\n"); line; line = strtok(NULL, "\n")) {
            if (strncmp(after, line, 64) >= 0 || line[64] != '\t')
                fail("the order of the listing", NULL);
            memcpy(after, line, 64);
            listed++;
        }
        rts3_free(objects);
    }
    for (unsigned i = 0; i < count; i++)
        good += rts3_head(handle, keys[i], 0, NULL, NULL, NULL) == RTS3_OK;
    printf("%u stored, %u listed, %d threads\n", good, listed, most);
    free(keys);
    return rts3_close(handle, NULL);
}
