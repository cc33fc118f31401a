/* Keys, outputs and errors that are missing or bad, in every function of the C ABI; room that ends in the middle; handles
 * that are closed while others use them, and by two at once.
 * usage: misuse HOST CAFILE BUCKET ACCESSKEYID SECRETACCESSKEY
 * The bucket is there. The server tells no length of the content of SIZE times 'x', and is late with that of SIZE times 'y'.
 * Prints TAP. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "tap.h"

enum { SIZE = 3000000, ROUNDS = 200, READERS = 3 };

#define NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const char *host, *cafile, *bucket, *id, *secret;

/* The handle of these options and one more. */
static rts3_handle *opened(const char *name, const char *value)
{
    const char *options[] = {"Host", host, "CAFile", cafile, "Bucket", bucket, "AccessKeyId", id,
                             "SecretAccessKey", secret, name, value};
    rts3_handle *handle = NULL;
    rts3_error *error = NULL;
    if (rts3_open(options, 6, &handle, &error) != RTS3_OK)
        printf("# rts3_open: %s\n", rts3_error_message(error));
    rts3_error_free(error);
    return handle;
}

static uint8_t *filled(char byte, char key[65])
{
    uint8_t *content = malloc(SIZE);
    memset(content, byte, SIZE);
    rts3_sha256(content, SIZE, key, NULL);
    return content;
}

/* ---- keys */

static void keys(rts3_handle *handle)
{
    static char upper[65];
    memset(upper, 'A', 64);
    const char *bad[][2] = {
        {NULL, "key is NULL"}, {"", "(0 characters)"}, {NOTHING "0", "(65 characters)"}, {NOTHING + 1, "(63 characters)"},
        {upper, "'AAA"}, {"\xff\xfe", "key is not UTF-8"}, {"../../../etc/passwd", "'../../../etc/passwd'"}};
    rts3_error *error = NULL;
    uint8_t *data = (uint8_t *)1;
    char *text = (char *)1;
    size_t size = 7;
    uint64_t length = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *key = bad[i][0], *said = bad[i][1];
        fails(rts3_store(handle, key, NULL, 0, NULL, 0, &error), &error, RTS3_ARGUMENT, said, "rts3_store: a bad key");
        fails(rts3_get(handle, key, 0, NULL, NULL, &data, &size, &error), &error, RTS3_ARGUMENT, said, "rts3_get: a bad key");
        fails(rts3_head(handle, key, 0, &length, &text, &error), &error, RTS3_ARGUMENT, said, "rts3_head: a bad key");
        fails(rts3_delete(handle, key, 0, &error), &error, RTS3_ARGUMENT, said, "rts3_delete: a bad key");
        fails(rts3_direct_url(handle, key, "a", "b/c", NULL, &text, &error), &error, RTS3_ARGUMENT, said, "rts3_direct_url: a bad key");
    }
    ok(data == (uint8_t *)1 && text == (char *)1 && size == 7 && length == 7, "... and no output was written");
}

/* ---- options */

static void options(void)
{
    rts3_error *error = NULL;
    uint32_t level = 0;
    char *text = NULL;
    rts3_handle *handle = opened("", "x");
    ok(handle != NULL, "an option whose name is empty");
    succeeds(rts3_next_message(handle, &level, &text, &error), &error, "... has a message");
    ok(level == 1 && text && strstr(text, "''"), "... that names it");
    rts3_free(text);
    rts3_close(handle, NULL);

    handle = opened("CreateBucket", "0");
    fails(rts3_create_bucket(handle, 0, &error), &error, RTS3_CONFIG, "CreateBucket is 0", "rts3_create_bucket with CreateBucket 0");
    rts3_close(handle, NULL);
}

/* ---- the longest deadline */

static void deadlines(rts3_handle *handle)
{
    rts3_error *error = NULL;
    uint8_t *data = NULL;
    char *text = NULL;
    size_t size = 1;
    succeeds(rts3_create_bucket(handle, UINT64_MAX, &error), &error, "rts3_create_bucket for ever");
    succeeds(rts3_probe(handle, UINT64_MAX, &text, &error), &error, "rts3_probe for ever");
    rts3_free(text);
    succeeds(rts3_store(handle, NOTHING, NULL, 0, NULL, UINT64_MAX, &error), &error, "rts3_store for ever");
    succeeds(rts3_get(handle, NOTHING, UINT64_MAX, NULL, NULL, &data, &size, &error), &error, "rts3_get for ever");
    ok(size == 0 && data == NULL, "... gives what was stored");
    succeeds(rts3_head(handle, NOTHING, UINT64_MAX, NULL, NULL, &error), &error, "rts3_head for ever");
    succeeds(rts3_delete(handle, NOTHING, UINT64_MAX, &error), &error, "rts3_delete for ever");
}

/* ---- errors that nobody wants */

static void silent(rts3_handle *handle)
{
    uint8_t *data = NULL;
    char *text = NULL, hex[65];
    size_t size;
    uint32_t level;
    int32_t proven;
    rts3_handle *none;
    int good = rts3_open(NULL, 1, &none, NULL) == RTS3_ARGUMENT && rts3_close(NULL, NULL) == RTS3_ARGUMENT
               && rts3_store(handle, NULL, NULL, 0, NULL, 0, NULL) == RTS3_ARGUMENT
               && rts3_get(handle, NULL, 0, NULL, NULL, &data, &size, NULL) == RTS3_ARGUMENT
               && rts3_get(handle, NOTHING, 0, NULL, NULL, &data, &size, NULL) == RTS3_NOT_FOUND
               && rts3_head(handle, NULL, 0, NULL, NULL, NULL) == RTS3_ARGUMENT
               && rts3_head(handle, NOTHING, 0, NULL, NULL, NULL) == RTS3_NOT_FOUND
               && rts3_delete(handle, NULL, 0, NULL) == RTS3_ARGUMENT
               && rts3_create_bucket(NULL, 0, NULL) == RTS3_ARGUMENT && rts3_probe(NULL, 0, NULL, NULL) == RTS3_ARGUMENT
               && rts3_fail_fast(NULL, 0, NULL) == RTS3_ARGUMENT && rts3_proven(NULL, &proven, NULL) == RTS3_ARGUMENT
               && rts3_direct_url(handle, NULL, NULL, NULL, NULL, &text, NULL) == RTS3_ARGUMENT
               && rts3_sha256(NULL, 1, hex, NULL) == RTS3_ARGUMENT
               && rts3_next_message(NULL, &level, &text, NULL) == RTS3_ARGUMENT
               && rts3_list(NULL, NULL, 0, &text, &proven, NULL) == RTS3_ARGUMENT;
    ok(good, "every function fails without an error to write to");
    good = rts3_store(handle, NOTHING, NULL, 0, NULL, 0, NULL) == RTS3_OK
           && rts3_get(handle, NOTHING, 0, NULL, NULL, &data, &size, NULL) == RTS3_OK
           && rts3_head(handle, NOTHING, 0, NULL, NULL, NULL) == RTS3_OK && rts3_probe(handle, 0, NULL, NULL) == RTS3_OK
           && rts3_create_bucket(handle, 0, NULL) == RTS3_OK && rts3_fail_fast(handle, 0, NULL) == RTS3_OK
           && rts3_proven(handle, &proven, NULL) == RTS3_OK && rts3_sha256(NULL, 0, hex, NULL) == RTS3_OK
           && rts3_direct_url(handle, NOTHING, NULL, NULL, NULL, &text, NULL) == RTS3_OK
           && rts3_delete(handle, NOTHING, 0, NULL) == RTS3_OK;
    ok(good, "... and succeeds without one");
    rts3_free(text);
}

/* ---- room */

struct room {
    uint8_t *data;
    int asked, most;
};

static uint8_t *reserve(void *context, size_t size)
{
    struct room *room = context;
    uint8_t *data = ++room->asked > room->most ? NULL : realloc(room->data, size);
    if (data)
        room->data = data;
    return data;
}

static void rooms(rts3_handle *handle)
{
    rts3_error *error = NULL;
    size_t size = 7;
    char key[65];
    uint8_t *content = filled('x', key), *data = (uint8_t *)1;
    succeeds(rts3_store(handle, key, content, SIZE, NULL, 0, &error), &error, "a content whose length is not told");
    struct room room = {NULL, 0, 1000};
    succeeds(rts3_get(handle, key, 0, reserve, &room, NULL, &size, &error), &error, "... is read");
    ok(size == SIZE && room.asked > 2 && !memcmp(room.data, content, SIZE), "... into room that grows");
    int asks = room.asked;
    size = 7;
    for (int most = 0; most < asks && most < 4; most++) {
        room.asked = 0;
        room.most = most;
        fails(rts3_get(handle, key, 0, reserve, &room, &data, &size, &error), &error, RTS3_ARGUMENT, "no room for an object of",
              "room that ends in the middle");
        ok(room.asked == most + 1 && data == (uint8_t *)1 && size == 7, "... is not asked for again, and no output is written");
    }
    room.asked = 0;
    room.most = 1000;
    succeeds(rts3_get(handle, key, 0, reserve, &room, NULL, &size, &error), &error, "... and with enough of it the next call works");
    ok(size == SIZE && !memcmp(room.data, content, SIZE), "... well");
    free(room.data);
    free(content);
}

/* ---- closing */

struct reader {
    rts3_handle *handle;
    const char *key;
    const uint8_t *content;
    pthread_barrier_t *begin;
    int read, closed, wrong;
};

/* Reads until the handle is closed. */
static void *read_on(void *argument)
{
    struct reader *reader = argument;
    pthread_barrier_wait(reader->begin);
    while (!reader->closed && !reader->wrong) {
        uint8_t *data = NULL;
        size_t size = 0;
        rts3_error *error = NULL;
        rts3_status status = rts3_get(reader->handle, reader->key, 0, NULL, NULL, &data, &size, &error);
        if (status == RTS3_OK && size == SIZE && !memcmp(data, reader->content, size))
            reader->read++;
        else if (status == RTS3_ARGUMENT && strstr(rts3_error_message(error), "handle is closed"))
            reader->closed = 1;
        else {
            reader->wrong = 1;
            printf("# %s\n", status == RTS3_OK ? "other bytes" : rts3_error_message(error));
        }
        rts3_free(data);
        rts3_error_free(error);
    }
    return NULL;
}

/* `moment`: microseconds after which it is closed */
static void close_under_a_call(int moment)
{
    rts3_error *error = NULL;
    rts3_handle *handle = opened("Retries", "3");
    pthread_barrier_t begin;
    pthread_t threads[READERS];
    struct reader readers[READERS];
    char key[65];
    uint8_t *content = filled('y', key);
    succeeds(rts3_store(handle, key, content, SIZE, NULL, 0, &error), &error, "a content that comes late");
    pthread_barrier_init(&begin, NULL, READERS + 1);
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){handle, key, content, &begin, 0, 0, 0};
        pthread_create(&threads[i], NULL, read_on, &readers[i]);
    }
    pthread_barrier_wait(&begin);
    usleep(moment);
    succeeds(rts3_close(handle, &error), &error, "rts3_close while others are in a call");
    int closed = 0, wrong = 0;
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        closed += readers[i].closed;
        wrong += readers[i].wrong;
    }
    ok(closed == READERS && wrong == 0, "... their calls end well, the next ones say that it is closed");
    rts3_handle *again = opened("Retries", "3");
    ok(again == handle, "... and it can be opened again");
    succeeds(rts3_head(again, key, 0, NULL, NULL, &error), &error, "... and works");
    rts3_close(again, NULL);
    pthread_barrier_destroy(&begin);
    free(content);
}

struct closer {
    rts3_handle *handle;
    pthread_barrier_t *begin;
    rts3_status status;
};

static void *close_it(void *argument)
{
    struct closer *closer = argument;
    pthread_barrier_wait(closer->begin);
    closer->status = rts3_close(closer->handle, NULL);
    return NULL;
}

/* Opened once, closed by two. */
static void close_twice(void)
{
    int good = 0;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_t begin;
        pthread_t threads[2];
        struct closer closers[2];
        rts3_handle *handle = opened("Retries", "2");
        if (round % 20 == 0)
            rts3_head(handle, NOTHING, 0, NULL, NULL, NULL);
        pthread_barrier_init(&begin, NULL, 2);
        for (int i = 0; i < 2; i++) {
            closers[i] = (struct closer){handle, &begin, RTS3_INTERNAL};
            pthread_create(&threads[i], NULL, close_it, &closers[i]);
        }
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        pthread_barrier_destroy(&begin);
        good += closers[0].status + closers[1].status == RTS3_OK + RTS3_ARGUMENT
                && (closers[0].status == RTS3_OK || closers[1].status == RTS3_OK);
    }
    ok(good == ROUNDS, "a handle that two threads close at once is closed by one of them");
}

/* ---- many at once, listings, inspections */

static void bulk(rts3_handle *handle)
{
    rts3_bulk *bulk = NULL, *closed = NULL, *stranger = (rts3_bulk *)&failed;
    rts3_error *error = NULL, *failure = NULL;
    int32_t accepted = 7, found = 7, existed = 7, more = 7;
    uint64_t number = 7, outstanding = 7;
    char key[65], *text = NULL;
    fails(rts3_bulk_open(NULL, 0, 0, &bulk, &error), &error, RTS3_ARGUMENT, "handle is NULL", "rts3_bulk_open without a handle");
    fails(rts3_bulk_open(handle, 0, 0, NULL, &error), &error, RTS3_ARGUMENT, "bulk is NULL", "... without an output");
    fails(rts3_bulk_open(handle, 1025, 0, &bulk, &error), &error, RTS3_ARGUMENT, "concurrency is above 1024", "... with too many threads");
    succeeds(rts3_bulk_open(handle, 1, 1, &bulk, &error), &error, "rts3_bulk_open");
    succeeds(rts3_bulk_open(handle, 1, 1, &closed, &error), &error, "rts3_bulk_open, once more");
    succeeds(rts3_bulk_close(closed, &error), &error, "rts3_bulk_close");
    rts3_bulk *wrong[] = {NULL, stranger, closed};
    const char *why[] = {"bulk is NULL", "bulk is none", "bulk is closed"};
    for (int i = 0; i < 3; i++) {
        fails(rts3_bulk_submit(wrong[i], 0, NULL, NULL, 0, NULL, &accepted, &error), &error, RTS3_ARGUMENT, why[i], "rts3_bulk_submit");
        fails(rts3_bulk_wait(wrong[i], 0, &found, &number, key, &existed, &failure, &outstanding, &error), &error, RTS3_ARGUMENT, why[i], "rts3_bulk_wait");
        fails(rts3_bulk_close(wrong[i], &error), &error, RTS3_ARGUMENT, why[i], "rts3_bulk_close");
    }
    fails(rts3_bulk_submit(bulk, 0, "nonsense", NULL, 0, NULL, &accepted, &error), &error, RTS3_ARGUMENT, "'nonsense'", "rts3_bulk_submit: a bad key");
    fails(rts3_bulk_submit(bulk, 0, NULL, NULL, 5, NULL, &accepted, &error), &error, RTS3_ARGUMENT, "content is NULL", "... no content");
    fails(rts3_bulk_submit(bulk, 0, NULL, NULL, 0, "\xff", &accepted, &error), &error, RTS3_ARGUMENT, "content_type is not UTF-8", "... a bad type");
    fails(rts3_bulk_submit(bulk, 0, NULL, NULL, 0, NULL, NULL, &error), &error, RTS3_ARGUMENT, "accepted is NULL", "... no output");
    fails(rts3_bulk_wait(bulk, 0, NULL, &number, key, &existed, &failure, &outstanding, &error), &error, RTS3_ARGUMENT, "found is NULL", "rts3_bulk_wait: no output");
    fails(rts3_bulk_wait(bulk, 0, &found, NULL, key, &existed, &failure, &outstanding, &error), &error, RTS3_ARGUMENT, "id is NULL", "... no id");
    fails(rts3_bulk_wait(bulk, 0, &found, &number, NULL, &existed, &failure, &outstanding, &error), &error, RTS3_ARGUMENT, "key is NULL", "... no key");
    fails(rts3_bulk_wait(bulk, 0, &found, &number, key, NULL, &failure, &outstanding, &error), &error, RTS3_ARGUMENT, "existed is NULL", "... no existed");
    fails(rts3_bulk_wait(bulk, 0, &found, &number, key, &existed, NULL, &outstanding, &error), &error, RTS3_ARGUMENT, "failure is NULL", "... no failure");
    fails(rts3_bulk_wait(bulk, 0, &found, &number, key, &existed, &failure, NULL, &error), &error, RTS3_ARGUMENT, "outstanding is NULL", "... no outstanding");
    succeeds(rts3_bulk_wait(bulk, UINT64_MAX, &found, &number, key, &existed, &failure, &outstanding, &error), &error, "rts3_bulk_wait with nothing to wait for");
    ok(!found && !outstanding, "... ends at once");
    ok(rts3_bulk_submit(bulk, 0, NULL, NULL, 5, NULL, NULL, NULL) == RTS3_ARGUMENT && rts3_bulk_close(NULL, NULL) == RTS3_ARGUMENT,
       "without an error, too");
    succeeds(rts3_bulk_close(bulk, &error), &error, "rts3_bulk_close");

    fails(rts3_list(handle, NULL, 0, NULL, &more, &error), &error, RTS3_ARGUMENT, "objects is NULL", "rts3_list without an output");
    fails(rts3_list(handle, NULL, 0, &text, NULL, &error), &error, RTS3_ARGUMENT, "more is NULL", "... without the other one");
    fails(rts3_list(handle, "\xff", 0, &text, &more, &error), &error, RTS3_ARGUMENT, "after is not UTF-8", "... after a bad name");
    fails(rts3_inspect(handle, NULL, 0, &text, &error), &error, RTS3_ARGUMENT, "document is NULL", "rts3_inspect of nothing");
    fails(rts3_inspect(handle, "nonsense", 0, &text, &error), &error, RTS3_ARGUMENT, "there is no document 'nonsense'", "... of what is not there");
    fails(rts3_inspect(handle, "learned", 0, NULL, &error), &error, RTS3_ARGUMENT, "text is NULL", "... without an output");
    ok(accepted == 7 && more == 7 && !text && !failure, "outputs are left as they were");
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    host = argv[1];
    cafile = *argv[2] ? argv[2] : NULL;
    bucket = argv[3];
    id = argv[4];
    secret = argv[5];
    rts3_handle *handle = opened("Region", NULL);
    keys(handle);
    options();
    deadlines(handle);
    silent(handle);
    rooms(handle);
    for (int moment = 1000; moment <= 256000; moment *= 4)
        close_under_a_call(moment);
    close_twice();
    bulk(handle);
    rts3_close(handle, NULL);
    printf("1..%d\n", tests);
    return failed ? 1 : 0;
}
