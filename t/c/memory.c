/* Carries out steps with little memory or no free descriptor, and checks what comes of each.
 * usage: memory HOST CAFILE BUCKET ACCESSKEYID SECRETACCESSKEY READTIMEOUT STEP...
 * CAFILE may be empty, READTIMEOUT is in seconds. Prints TAP. Steps (STATUSES: names of statuses, such as "ok" or "network,internal"):
 *
 *   get KEY STATUSES     into room that the library allocates; what is read must be the content of KEY
 *   room KEY STATUSES    into room that realloc gives
 *   head KEY STATUSES
 *   content MB           makes a content of that size
 *   store STATUSES       stores it
 *   limit MB             leaves so much address space; 0: as much as before
 *   fill N               opens files until only N descriptors are free
 *   free                 closes them
 *   mark                 remembers the highest memory so far,
 *   peak MB              which has grown by less than this since
 *   seconds S            all since mark took less time than this */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "rts3.h"

#define MB (1024ul * 1024)
#define TABLE 256

static int tests = 0, failed = 0;
static rts3_handle *handle;
static uint8_t *content;
static size_t content_size;
static char content_key[65];
static int taken[TABLE], takers;
static long marked_peak;
static double marked_time;

static int ok(int good, const char *step, const char *argument, const char *expected)
{
    tests++;
    failed += !good;
    printf("%sok %d - %s %s: %s\n", good ? "" : "not ", tests, step, argument, expected);
    return good;
}

static int is_one_of(const char *name, const char *names)
{
    size_t length = strlen(name);
    for (const char *at = names; (at = strstr(at, name)); at++)
        if ((at == names || at[-1] == ',') && (at[length] == 0 || at[length] == ','))
            return 1;
    return 0;
}

/* The call came out as expected, with a message if it failed. */
static void came(rts3_status status, rts3_error *error, const char *step, const char *argument, const char *expected)
{
    int good = is_one_of(rts3_status_name(status), expected) && (status == RTS3_OK) == (error == NULL);
    ok(good, step, argument, expected);
    printf("# %s%s%s\n", rts3_status_name(status), error ? ": " : "", rts3_error_message(error));
    rts3_error_free(error);
}

struct room {
    uint8_t *data;
    size_t size;
};

static uint8_t *reserve(void *context, size_t size)
{
    struct room *room = context;
    uint8_t *data = realloc(room->data, size);
    if (data) {
        room->data = data;
        room->size = size;
    }
    return data;
}

static void get(const char *step, const char *key, const char *expected, int with_room)
{
    struct room room = {NULL, 0};
    uint8_t *data = NULL;
    size_t size = 0;
    char found[65] = "";
    rts3_error *error = NULL;
    rts3_status status = rts3_get(handle, key, 0, with_room ? reserve : NULL, &room, &data, &size, &error);
    came(status, error, step, key, expected);
    if (status == RTS3_OK)
        ok(rts3_sha256(data, size, found, NULL) == RTS3_OK && !strcmp(found, key), step, key, "is the content");
    if (with_room)
        free(room.data);
    else
        rts3_free(data);
}

static void head(const char *step, const char *key, const char *expected)
{
    rts3_error *error = NULL;
    rts3_status status = rts3_head(handle, key, 0, NULL, NULL, &error);
    came(status, error, step, key, expected);
}

static void store(const char *step, const char *expected)
{
    rts3_error *error = NULL;
    rts3_status status = rts3_store(handle, content_key, content, content_size, NULL, 0, &error);
    came(status, error, step, content_key, expected);
}

static void make_content(size_t megabytes)
{
    content_size = megabytes * MB;
    content = malloc(content_size);
    for (size_t i = 0; i < content_size; i += 4096) /* touched, and no two pages are the same */
        memset(content + i, (int)(i / 4096 * 7 % 251), 4096);
    rts3_sha256(content, content_size, content_key, NULL);
}

/* A number of kB in /proc/self/status */
static long status_field(const char *name)
{
    char line[200];
    long number = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            number = atol(line + strlen(name) + 1);
    if (file)
        fclose(file);
    return number;
}

static void limit(size_t megabytes)
{
    struct rlimit space;
    getrlimit(RLIMIT_AS, &space);
    space.rlim_cur = megabytes ? (rlim_t)status_field("VmSize") * 1024 + megabytes * MB : space.rlim_max;
    if (setrlimit(RLIMIT_AS, &space))
        perror("setrlimit");
}

static void fill(int left)
{
    struct rlimit table = {TABLE, TABLE};
    if (setrlimit(RLIMIT_NOFILE, &table))
        perror("setrlimit");
    while (takers < TABLE && (taken[takers] = open("/dev/null", O_RDONLY)) >= 0)
        takers++;
    ok(takers < TABLE && errno == EMFILE, "fill", "", "the table is full");
    while (left-- > 0)
        close(taken[--takers]);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Carries out one step; returns how many of its arguments were used. */
static int carry_out(const char *step, char **arguments, int count)
{
    const char *first = count > 0 ? arguments[0] : "", *second = count > 1 ? arguments[1] : "";
    if (!strcmp(step, "get") || !strcmp(step, "room")) {
        get(step, first, second, *step == 'r');
        return 2;
    } else if (!strcmp(step, "head")) {
        head(step, first, second);
        return 2;
    } else if (!strcmp(step, "store")) {
        store(step, first);
    } else if (!strcmp(step, "content")) {
        make_content(strtoul(first, NULL, 10));
    } else if (!strcmp(step, "limit")) {
        limit(strtoul(first, NULL, 10));
    } else if (!strcmp(step, "fill")) {
        fill(atoi(first));
    } else if (!strcmp(step, "peak")) {
        long grown = (status_field("VmHWM:") - marked_peak) / 1024;
        if (!ok(grown < atol(first), step, first, "memory stayed within it"))
            printf("# %ld MB\n", grown);
    } else if (!strcmp(step, "seconds")) {
        double seconds = now() - marked_time;
        if (!ok(seconds < atof(first), step, first, "it took no longer"))
            printf("# %.1f s\n", seconds);
    } else if (!strcmp(step, "free")) {
        while (takers)
            close(taken[--takers]);
        return 0;
    } else if (!strcmp(step, "mark")) {
        marked_peak = status_field("VmHWM:");
        marked_time = now();
        return 0;
    } else {
        ok(0, step, "", "is no step");
    }
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(stderr, "usage: memory HOST CAFILE BUCKET ACCESSKEYID SECRETACCESSKEY READTIMEOUT STEP...\n");
        return 2;
    }
    char deadline[20];
    const char *options[] = {"Host", argv[1], "CAFile", *argv[2] ? argv[2] : NULL, "Bucket", argv[3],
                             "AccessKeyId", argv[4], "SecretAccessKey", argv[5], "Retries", "1",
                             "Deadline", deadline, "ReadTimeout", argv[6]};
    rts3_error *error = NULL;
    snprintf(deadline, sizeof deadline, "%d", 2 * atoi(argv[6]) + 4);
    setvbuf(stdout, NULL, _IOLBF, 0);
    came(rts3_open(options, 8, &handle, &error), error, "open", argv[1], "ok");
    for (int i = 7; i < argc;) {
        const char *step = argv[i++];
        i += carry_out(step, argv + i, argc - i);
    }
    rts3_close(handle, NULL);
    free(content);
    printf("1..%d\n", tests);
    return failed ? 1 : 0;
}
