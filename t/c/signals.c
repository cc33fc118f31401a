/* Calls in a storm of signals that are not blocked, with handlers that let system calls end with EINTR.
 * usage: signals HOST CAFILE BUCKET ACCESSKEYID SECRETACCESSKEY SIZE...
 * Stores and reads a content of each size. With RTS3_LOOKUP_HANG the look-up of the name hangs for a second
 * (t/c/lookup.c). Says how many signals of each kind were handled meanwhile, and whether all bytes came back. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rts3.h"

enum { KINDS = 6 };

static const int kinds[KINDS] = {SIGTERM, SIGINT, SIGCHLD, SIGALRM, SIGUSR1, SIGHUP};
static volatile sig_atomic_t handled[65];

static void handler(int number)
{
    handled[number]++;
}

static void storm(pid_t parent, const char *hang)
{
    for (int i = 0; getppid() == parent; i++) {
        kill(parent, kinds[i % KINDS]);
        usleep(1000);
        if (hang && i == 800)
            unlink(hang);
    }
    _exit(0);
}

static int work(rts3_handle *handle, size_t size)
{
    uint8_t *content = malloc(size), *data = NULL;
    char key[65];
    size_t got = 0;
    rts3_error *error = NULL;
    for (size_t i = 0; i < size; i++)
        content[i] = (uint8_t)(i * 31 + (i >> 8) + size);
    rts3_sha256(content, size, key, NULL);
    if (rts3_store(handle, key, content, size, NULL, 0, &error) != RTS3_OK
        || rts3_get(handle, key, 0, NULL, NULL, &data, &got, &error) != RTS3_OK) {
        printf("%zu bytes: %s\n", size, rts3_error_message(error));
        return 0;
    }
    int same = got == size && !memcmp(data, content, size);
    rts3_free(data);
    free(content);
    return same;
}

int main(int argc, char **argv)
{
    if (argc < 7)
        return 2;
    pid_t self = getpid();
    const char *hang = getenv("RTS3_LOOKUP_HANG");
    if (hang) {
        FILE *file = fopen(hang, "w");
        if (!file || fprintf(file, "%ld\n", (long)self) < 0 || fclose(file))
            return 3;
    }
    const char *options[] = {"Host", argv[1], "CAFile", argv[2], "Bucket", argv[3], "AccessKeyId", argv[4],
                             "SecretAccessKey", argv[5], "ConnectTimeout", "20"};
    rts3_handle *handle = NULL;
    if (rts3_open(options, 6, &handle, NULL) != RTS3_OK)
        return 4;
    struct sigaction action = {.sa_handler = handler};
    for (int i = 0; i < KINDS; i++)
        sigaction(kinds[i], &action, NULL);
    pid_t sender = fork();
    if (sender == 0)
        storm(self, hang);

    int good = 1, least = 1000000;
    for (int i = 6; i < argc; i++)
        good &= work(handle, (size_t)atol(argv[i]));
    for (int i = 0; i < KINDS; i++)
        least = handled[kinds[i]] < least ? handled[kinds[i]] : least;
    kill(sender, SIGKILL);
    while (waitpid(sender, NULL, 0) < 0)
        ;
    printf("%s, each signal at least %d times\n", good ? "all good" : "not good", least);
    return 0;
}
