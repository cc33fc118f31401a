/*
 * Stores a file in a bucket, under its SHA-256, and gets it back.
 *
 *     files [OPTION=VALUE]... store FILE [TYPE]    prints key and name, as sha256sum does
 *     files [OPTION=VALUE]... get KEY >FILE
 *
 * Ends with 0, 75 where the same may go well later, 64 where it was called in a wrong way, and else 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rts3.h>

enum { WELL = 0, FAILED = 1, WRONG_USE = 64, TRY_AGAIN = 75 };

static int may_pass(rts3_status status)
{
    switch (status) {
    case RTS3_NETWORK:
    case RTS3_TIMEOUT:
    case RTS3_THROTTLED:
    case RTS3_SERVER:
    case RTS3_UNAVAILABLE:
        return 1;
    default:
        return 0;
    }
}

/* What failed, its code, and whether to try again */
static int failed(rts3_error *error)
{
    rts3_status status = rts3_error_status(error);
    int again = may_pass(status);
    fprintf(stderr, "files: %s\nfiles: code %u, %s: %s\n", rts3_error_message(error), (unsigned)status,
            rts3_status_name(status), again ? "try again later" : "trying again does not help");
    rts3_error_free(error);
    return again ? TRY_AGAIN : FAILED;
}

static void print_messages(rts3_handle *handle)
{
    uint32_t level;
    char *text;
    while (rts3_next_message(handle, &level, &text, NULL) == RTS3_OK && text) {
        fprintf(stderr, "files: %s: %s\n", level == 1 ? "error" : level == 2 ? "warning" : "note", text);
        rts3_free(text);
    }
}

static void stop(const char *what)
{
    perror(what);
    exit(FAILED);
}

static uint8_t *read_file(const char *name, size_t *size)
{
    FILE *file = fopen(name, "rb");
    uint8_t *content = NULL;
    size_t room = 0, got;
    if (!file)
        stop(name);
    *size = 0;
    do {
        if (*size == room) {
            room = room ? 2 * room : 65536;
            content = realloc(content, room);
            if (!content)
                stop(name);
        }
        got = fread(content + *size, 1, room - *size, file);
        *size += got;
    } while (got > 0);
    if (ferror(file))
        stop(name);
    fclose(file);
    return content;
}

static int store(rts3_handle *handle, const char *name, const char *type)
{
    size_t size;
    uint8_t *content = read_file(name, &size);
    char key[65];
    rts3_error *error = NULL;
    if (rts3_sha256(content, size, key, &error) == RTS3_OK)
        rts3_store(handle, key, content, size, type, 0, &error);
    free(content);
    print_messages(handle);
    if (error)
        return failed(error);
    if (printf("%s  %s\n", key, name) < 0 || fflush(stdout) != 0)
        stop("standard output");
    return WELL;
}

static int get(rts3_handle *handle, const char *key)
{
    size_t size = 0;
    uint8_t *content = NULL;
    rts3_error *error = NULL;
    rts3_get(handle, key, 0, NULL, NULL, &content, &size, &error);
    print_messages(handle);
    if (error)
        return failed(error);
    if ((size > 0 && fwrite(content, 1, size, stdout) != size) || fflush(stdout) != 0)
        stop("standard output");
    rts3_free(content);
    return WELL;
}

int main(int argc, char **argv)
{
    const char *options[2 * argc + 1];
    size_t count = 0;
    char **words = argv + 1;
    for (char *equals; *words && (equals = strchr(*words, '=')); words++) {
        *equals = '\0';
        options[count++] = *words;
        options[count++] = equals + 1;
    }
    int given = argc - (int)(words - argv);
    int stores = given >= 2 && given <= 3 && strcmp(words[0], "store") == 0;
    int gets = given == 2 && strcmp(words[0], "get") == 0;
    if (!stores && !gets) {
        fputs("usage: files [OPTION=VALUE]... store FILE [TYPE]\n"
              "       files [OPTION=VALUE]... get KEY >FILE\n",
              stderr);
        return WRONG_USE;
    }

    rts3_handle *handle;
    rts3_error *error = NULL;
    if (rts3_open(options, count / 2, &handle, &error) != RTS3_OK)
        return failed(error);
    print_messages(handle);
    int status = stores ? store(handle, words[1], words[2]) : get(handle, words[1]);
    rts3_close(handle, NULL);
    return status;
}
