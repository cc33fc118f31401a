/* Uses every function of the C ABI, rightly and wrongly, against an S3 server.
 * usage: abi HOST CAFILE BUCKET ACCESSKEYID SECRETACCESSKEY
 * Prints TAP. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

struct room {
    uint8_t *data;
    size_t size;
    int asked;
};

static uint8_t *reserve(void *context, size_t size)
{
    struct room *room = context;
    uint8_t *data = realloc(room->data, size);
    room->asked++;
    if (data) {
        room->data = data;
        room->size = size;
    }
    return data;
}

static uint8_t *no_room(void *context, size_t size)
{
    (void)context;
    (void)size;
    return NULL;
}

struct job {
    rts3_handle *handle;
    const char *key;
    const uint8_t *content;
    size_t size;
    int good;
};

static void *read_often(void *argument)
{
    struct job *job = argument;
    for (int i = 0; i < 20; i++) {
        uint8_t *data = NULL;
        size_t size = 0;
        if (rts3_get(job->handle, job->key, 0, NULL, NULL, &data, &size, NULL) == RTS3_OK && size == job->size
            && !memcmp(data, job->content, size))
            job->good++;
        rts3_free(data);
    }
    return NULL;
}

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: abi HOST CAFILE BUCKET ACCESSKEYID SECRETACCESSKEY\n");
        return 2;
    }
    const char *cafile = *argv[2] ? argv[2] : NULL;
    const char *options[] = {"Host", argv[1], "CAFile", cafile, "Bucket", argv[3],
                             "AccessKeyId", argv[4], "SecretAccessKey", argv[5], "Region", NULL};
    const char *reordered[] = {"SecretAccessKey", argv[5], "AccessKeyId", argv[4], "Bucket", argv[3],
                               "CAFile", cafile, "Host", argv[1]};
    rts3_error *error = NULL;
    rts3_handle *handle = NULL, *again = NULL, *other = NULL;
    uint8_t *data = (uint8_t *)1;
    size_t size = 0, content_size = 3000000;
    uint64_t object_size = 0;
    char key[65], *text = NULL;
    uint32_t level = 0;
    int32_t proven = -1;

    ok(rts3_version()[0] != 0, "rts3_version");
    ok(!strcmp(rts3_status_name(RTS3_NOT_FOUND), "not-found") && !strcmp(rts3_status_name(4711), "unknown"), "rts3_status_name");
    ok(rts3_error_status(NULL) == RTS3_OK && !strcmp(rts3_error_message(NULL), ""), "no error");
    rts3_error_free(NULL);
    rts3_free(NULL);

    /* rts3_open */
    succeeds(rts3_open(options, 6, &handle, &error), &error, "rts3_open");
    succeeds(rts3_open(reordered, 5, &again, &error), &error, "rts3_open again");
    ok(handle == again, "the same options give the same handle");
    fails(rts3_open(options, 6, NULL, &error), &error, RTS3_ARGUMENT, "handle is NULL", "rts3_open without an output");
    fails(rts3_open(NULL, 1, &other, &error), &error, RTS3_ARGUMENT, "options is NULL", "rts3_open with NULL options");
    fails(rts3_open(NULL, 0, &other, &error), &error, RTS3_CONFIG, "option Bucket is missing", "rts3_open without options");
    const char *bad_name[] = {NULL, "x"}, *bad_utf8[] = {"Bucket", "b\xff"};
    fails(rts3_open(bad_name, 1, &other, &error), &error, RTS3_ARGUMENT, "name of option 1 is NULL", "an option without name");
    fails(rts3_open(bad_utf8, 1, &other, &error), &error, RTS3_ARGUMENT, "value of option Bucket is not UTF-8", "an option that is not UTF-8");
    ok(other == NULL, "outputs are written on success only");
    ok(rts3_open(NULL, 0, NULL, NULL) == RTS3_ARGUMENT, "an error that nobody wants");

    /* rts3_next_message */
    const char *mistaken[] = {"Bucket", argv[3], "AccessKeyId", "x", "SecretAccessKey", "TOPSECRET", "Regoin", "x"};
    succeeds(rts3_open(mistaken, 4, &other, &error), &error, "rts3_open with an unknown option");
    succeeds(rts3_next_message(other, &level, &text, &error), &error, "rts3_next_message");
    ok(level == 1 && text && strstr(text, "did you mean Region"), "names the nearest option");
    rts3_free(text);
    succeeds(rts3_next_message(other, &level, &text, &error), &error, "rts3_next_message of an empty queue");
    ok(text == NULL, "no message is NULL");
    fails(rts3_next_message(other, NULL, &text, &error), &error, RTS3_ARGUMENT, "level is NULL", "rts3_next_message without level");
    fails(rts3_next_message(other, &level, NULL, &error), &error, RTS3_ARGUMENT, "text is NULL", "rts3_next_message without text");
    succeeds(rts3_close(other, &error), &error, "rts3_close");
    fails(rts3_close(other, &error), &error, RTS3_ARGUMENT, "handle is closed", "rts3_close of a closed handle");

    /* rts3_create_bucket, rts3_probe */
    fails(rts3_probe(handle, 0, NULL, &error), &error, RTS3_NO_BUCKET, "NoSuchBucket", "rts3_probe before there is a bucket");
    succeeds(rts3_create_bucket(handle, 0, &error), &error, "rts3_create_bucket");
    succeeds(rts3_create_bucket(handle, 0, &error), &error, "rts3_create_bucket of our own bucket");
    text = NULL;
    succeeds(rts3_probe(handle, 0, &text, &error), &error, "rts3_probe");
    ok(text && !strcmp(text, "options"), "credentials come from the options");
    rts3_free(text);

    /* rts3_sha256 */
    uint8_t *content = malloc(content_size);
    for (size_t i = 0; i < content_size; i++)
        content[i] = (uint8_t)((i * 2654435761u) >> 13);
    succeeds(rts3_sha256(NULL, 0, key, &error), &error, "rts3_sha256 of nothing");
    ok(!strcmp(key, EMPTY), "is the digest of nothing");
    fails(rts3_sha256(NULL, 7, key, &error), &error, RTS3_ARGUMENT, "content is NULL", "rts3_sha256 of NULL");
    fails(rts3_sha256(content, 7, NULL, &error), &error, RTS3_ARGUMENT, "hex is NULL", "rts3_sha256 without an output");
    succeeds(rts3_sha256(content, content_size, key, &error), &error, "rts3_sha256");

    /* rts3_get, rts3_head of what is not there */
    fails(rts3_get(handle, key, 0, NULL, NULL, &data, &size, &error), &error, RTS3_NOT_FOUND, "NoSuchKey", "rts3_get of nothing");
    ok(data == (uint8_t *)1 && size == 0, "outputs are left alone on failure");
    fails(rts3_head(handle, key, 0, &object_size, NULL, &error), &error, RTS3_NOT_FOUND, key, "rts3_head of nothing");
    succeeds(rts3_proven(handle, &proven, &error), &error, "rts3_proven");
    ok(proven == 0, "nothing was read or stored yet");

    /* rts3_store */
    succeeds(rts3_store(handle, key, content, content_size, "image/png", 0, &error), &error, "rts3_store");
    succeeds(rts3_store(handle, key, content, content_size, NULL, 0, &error), &error, "rts3_store again");
    succeeds(rts3_store(handle, EMPTY, NULL, 0, "text/plain", 0, &error), &error, "rts3_store of nothing");
    fails(rts3_store(handle, EMPTY, content, 1, NULL, 0, &error), &error, RTS3_MISMATCH, "nothing was stored", "rts3_store under another key");
    fails(rts3_store(handle, key, NULL, 1, NULL, 0, &error), &error, RTS3_ARGUMENT, "content is NULL", "rts3_store of NULL");
    fails(rts3_store(handle, NULL, content, 1, NULL, 0, &error), &error, RTS3_ARGUMENT, "key is NULL", "rts3_store without a key");
    fails(rts3_store(handle, key + 1, content, 1, NULL, 0, &error), &error, RTS3_ARGUMENT, "(63 characters)", "a key of 63 characters");
    fails(rts3_store(handle, "\xff", content, 1, NULL, 0, &error), &error, RTS3_ARGUMENT, "key is not UTF-8", "a key that is not UTF-8");
    fails(rts3_store(handle, key, content, content_size, "\xff", 0, &error), &error, RTS3_ARGUMENT, "content_type is not UTF-8", "a type that is not UTF-8");
    fails(rts3_store(handle, key, content, SIZE_MAX, NULL, 0, &error), &error, RTS3_ARGUMENT, "larger than memory", "a size that can't be");
    succeeds(rts3_store(handle, EMPTY, NULL, 0, "a\r\nb", 0, &error), &error, "a type that can't be sent does not lose the content");
    text = NULL;
    do {
        rts3_free(text);
        rts3_next_message(handle, &level, &text, NULL);
    } while (text && !strstr(text, "Content-Type"));
    ok(text && level == 2, "but is warned about");
    rts3_free(text);
    rts3_proven(handle, &proven, NULL);
    ok(proven == 1, "rts3_proven after a Store");
    succeeds(rts3_fail_fast(handle, 1, &error), &error, "rts3_fail_fast");
    succeeds(rts3_fail_fast(handle, 0, &error), &error, "... and back");
    fails(rts3_proven(handle, NULL, &error), &error, RTS3_ARGUMENT, "proven is NULL", "rts3_proven without an output");

    /* rts3_get */
    data = NULL;
    succeeds(rts3_get(handle, key, 0, NULL, NULL, &data, &size, &error), &error, "rts3_get");
    ok(size == content_size && data && !memcmp(data, content, size), "gives the content");
    rts3_free(data);
    struct room room = {NULL, 0, 0};
    succeeds(rts3_get(handle, key, 5000, reserve, &room, NULL, &size, &error), &error, "rts3_get into the caller's room");
    ok(size == content_size && room.size == size && room.asked == 1 && !memcmp(room.data, content, size), "asks for room once");
    succeeds(rts3_get(handle, key, 5000, reserve, &room, &data, &size, &error), &error, "rts3_get with room and output");
    ok(data == room.data, "gives the room's address");
    free(room.data);
    data = (uint8_t *)1;
    succeeds(rts3_get(handle, EMPTY, 0, no_room, NULL, &data, &size, &error), &error, "rts3_get of nothing asks for no room");
    ok(data == NULL && size == 0, "and gives none");
    fails(rts3_get(handle, key, 0, no_room, NULL, &data, &size, &error), &error, RTS3_ARGUMENT, "no room", "rts3_get without room");
    fails(rts3_get(handle, key, 0, NULL, NULL, NULL, &size, &error), &error, RTS3_ARGUMENT, "data is NULL", "rts3_get without an output");
    fails(rts3_get(handle, key, 0, NULL, NULL, &data, NULL, &error), &error, RTS3_ARGUMENT, "size is NULL", "rts3_get without a size");
    fails(rts3_get(handle, "../x", 0, NULL, NULL, &data, &size, &error), &error, RTS3_ARGUMENT, "'../x'", "rts3_get of a path");

    /* rts3_head */
    succeeds(rts3_head(handle, key, 0, &object_size, &text, &error), &error, "rts3_head");
    ok(object_size == content_size, "gives the size");
    rts3_free(text);
    succeeds(rts3_head(handle, key, 0, NULL, NULL, &error), &error, "rts3_head without outputs");

    /* rts3_direct_url */
    succeeds(rts3_direct_url(handle, key, NULL, NULL, NULL, &text, &error), &error, "rts3_direct_url");
    ok(text && strstr(text, key) && !strncmp(text, argv[1], strlen(argv[1])), "is on the Host");
    rts3_free(text);
    fails(rts3_direct_url(handle, key, NULL, NULL, NULL, NULL, &error), &error, RTS3_ARGUMENT, "url is NULL", "rts3_direct_url without an output");
    fails(rts3_direct_url(handle, key, "\xff", NULL, NULL, &text, &error), &error, RTS3_ARGUMENT, "file_name is not UTF-8", "rts3_direct_url with a bad name");

    /* threads and a fork */
    pthread_t threads[4];
    struct job jobs[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct job){handle, key, content, content_size, 0};
        pthread_create(&threads[i], NULL, read_often, &jobs[i]);
    }
    int good = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        good += jobs[i].good;
    }
    ok(good == 80, "calls from four threads");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct job job = {handle, key, content, content_size, 0};
        read_often(&job);
        _exit(job.good == 20 ? 0 : 1);
    }
    struct job parent = {handle, key, content, content_size, 0};
    read_often(&parent);
    int status = -1;
    waitpid(child, &status, 0);
    ok(status == 0 && parent.good == 20, "a child and its parent, at once");

    /* rts3_delete */
    succeeds(rts3_delete(handle, key, 0, &error), &error, "rts3_delete");
    succeeds(rts3_delete(handle, key, 0, &error), &error, "rts3_delete of nothing");
    fails(rts3_delete(handle, NULL, 0, &error), &error, RTS3_ARGUMENT, "key is NULL", "rts3_delete without a key");
    fails(rts3_get(handle, key, 0, NULL, NULL, &data, &size, &error), &error, RTS3_NOT_FOUND, "NoSuchKey", "rts3_get of what was deleted");

    /* a closed handle, NULL, and a pointer that never was one */
    succeeds(rts3_close(handle, &error), &error, "rts3_close, opened twice");
    succeeds(rts3_head(handle, EMPTY, 0, NULL, NULL, &error), &error, "still open");
    succeeds(rts3_close(handle, &error), &error, "rts3_close the last time");
    rts3_handle *wrong[] = {handle, NULL, (rts3_handle *)content, (rts3_handle *)8};
    for (int i = 0; i < 4; i++) {
        fails(rts3_store(wrong[i], EMPTY, NULL, 0, NULL, 0, &error), &error, RTS3_ARGUMENT, "handle is", "rts3_store with a bad handle");
        fails(rts3_get(wrong[i], EMPTY, 0, NULL, NULL, &data, &size, &error), &error, RTS3_ARGUMENT, "handle is", "rts3_get with a bad handle");
        fails(rts3_delete(wrong[i], EMPTY, 0, &error), &error, RTS3_ARGUMENT, "handle is", "rts3_delete with a bad handle");
        fails(rts3_head(wrong[i], EMPTY, 0, NULL, NULL, &error), &error, RTS3_ARGUMENT, "handle is", "rts3_head with a bad handle");
        fails(rts3_create_bucket(wrong[i], 0, &error), &error, RTS3_ARGUMENT, "handle is", "rts3_create_bucket with a bad handle");
        fails(rts3_probe(wrong[i], 0, NULL, &error), &error, RTS3_ARGUMENT, "handle is", "rts3_probe with a bad handle");
        fails(rts3_fail_fast(wrong[i], 1, &error), &error, RTS3_ARGUMENT, "handle is", "rts3_fail_fast with a bad handle");
        fails(rts3_proven(wrong[i], &proven, &error), &error, RTS3_ARGUMENT, "handle is", "rts3_proven with a bad handle");
        fails(rts3_direct_url(wrong[i], EMPTY, NULL, NULL, NULL, &text, &error), &error, RTS3_ARGUMENT, "handle is", "rts3_direct_url with a bad handle");
        fails(rts3_next_message(wrong[i], &level, &text, &error), &error, RTS3_ARGUMENT, "handle is", "rts3_next_message with a bad handle");
        fails(rts3_close(wrong[i], &error), &error, RTS3_ARGUMENT, "handle is", "rts3_close with a bad handle");
    }
    succeeds(rts3_open(options, 6, &again, &error), &error, "rts3_open after the last close");
    succeeds(rts3_head(again, EMPTY, 0, NULL, NULL, &error), &error, "works");
    rts3_close(again, NULL);
    free(content);
    printf("1..%d\n", tests);
    return failed ? 1 : 0;
}
