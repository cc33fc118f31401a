/* Forks while other threads are in calls.
 * usage: forks calls|connects|lookup CHILDREN HOST CAFILE BUCKET ACCESSKEYID SECRETACCESSKEY KEY
 *   calls     one thread reads KEY all the time, with the handle that the children use, too
 *   connects  four threads open handles, connect, read KEY and close, all the time
 *   lookup    one thread reads KEY and hangs in the look-up of the name (t/c/lookup.c) until the children have ended
 * Each child stores a content of its own, "made by PID", and reads it. Lines: "child PID", then what became of it;
 * at the end how many calls of the other threads went well. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rts3.h"

enum { CHILD_SECONDS = 15 };

static char **arguments;
static rts3_handle *shared;
static atomic_int stop = 0, good = 0, bad = 0, number = 0;

/* A handle for itself if it has a number. */
static rts3_handle *open_handle(int count)
{
    char timeout[16];
    snprintf(timeout, sizeof timeout, "%d", 20 + count);
    const char *options[] = {"Host", arguments[3], "CAFile", arguments[4], "Bucket", arguments[5],
                             "AccessKeyId", arguments[6], "SecretAccessKey", arguments[7],
                             "ConnectTimeout", timeout};
    rts3_handle *handle = NULL;
    rts3_error *error = NULL;
    if (rts3_open(options, 6, &handle, &error) != RTS3_OK) {
        fprintf(stderr, "rts3_open: %s\n", rts3_error_message(error));
        exit(3);
    }
    return handle;
}

static int report(rts3_status status, rts3_error *error)
{
    if (status != RTS3_OK)
        fprintf(stderr, "%s\n", rts3_error_message(error));
    rts3_error_free(error);
    return status == RTS3_OK;
}

static void read_key(rts3_handle *handle)
{
    rts3_error *error = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    if (report(rts3_get(handle, arguments[8], 0, NULL, NULL, &data, &size, &error), error))
        good++;
    else
        bad++;
    rts3_free(data);
}

static void *calls(void *unused)
{
    while (!stop)
        read_key(shared);
    return unused;
}

static void *connects(void *unused)
{
    /* The table of handles never forgets: a few sets of options, used over and over. */
    int own = 1 + number++;
    while (!stop) {
        rts3_handle *handle = open_handle(own);
        read_key(handle);
        rts3_close(handle, NULL);
    }
    return unused;
}

static void *lookup(void *unused)
{
    read_key(shared);
    return unused;
}

static int child(void)
{
    char content[64], key[65];
    size_t size = (size_t)snprintf(content, sizeof content, "made by %ld", (long)getpid()), got = 0;
    rts3_error *error = NULL;
    uint8_t *data = NULL;
    rts3_sha256((uint8_t *)content, size, key, NULL);
    if (!report(rts3_store(shared, key, (uint8_t *)content, size, NULL, 0, &error), error))
        return 1;
    error = NULL;
    if (!report(rts3_get(shared, key, 0, NULL, NULL, &data, &got, &error), error))
        return 2;
    return got == size && !memcmp(data, content, size) ? 0 : 3;
}

int main(int argc, char **argv)
{
    if (argc != 9)
        return 2;
    arguments = argv;
    int children = atoi(argv[2]), several = !strcmp(argv[1], "connects");
    void *(*work)(void *) = several ? connects : !strcmp(argv[1], "lookup") ? lookup : calls;
    pthread_t threads[4];
    int count = several ? 4 : 1;
    setvbuf(stdout, NULL, _IOLBF, 0);

    shared = open_handle(0);
    const char *hang = getenv("RTS3_LOOKUP_HANG");
    if (work == lookup) {
        FILE *file = fopen(hang, "w");
        if (!file || fprintf(file, "%ld\n", (long)getpid()) < 0 || fclose(file))
            return 4;
    }
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    /* A call that connects is another matter than one that goes on. */
    for (int i = 0; work == calls && !good && !bad && i < 1000; i++)
        usleep(10000);
    usleep(300000);
    for (int i = 0; i < children; i++) {
        usleep((useconds_t)(i * 7919 % 10) * 1000); /* at all moments of a call */
        pid_t pid = fork();
        if (pid == 0) {
            alarm(CHILD_SECONDS);
            _exit(child());
        }
        int status = -1;
        waitpid(pid, &status, 0);
        if (WIFSIGNALED(status))
            printf("child %ld was ended by signal %d\n", (long)pid, WTERMSIG(status));
        else
            printf("child %ld %d\n", (long)pid, WEXITSTATUS(status));
        if (WIFSIGNALED(status))
            break;
    }
    stop = 1;
    if (work == lookup) {
        printf("%d calls before\n", good + bad);
        unlink(hang);
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    printf("%d good, %d bad\n", good, bad);
    return 0;
}
