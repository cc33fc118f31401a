/*
 * rts3: contents in one S3 bucket, each under its SHA-256.
 *
 *     const char *options[] = {"Bucket", "files", "Host", "https://s3.example.org",
 *                              "AccessKeyId", "...", "SecretAccessKey", "..."};
 *     rts3_handle *handle;
 *     rts3_error *error = NULL;
 *     char key[65];
 *     if (rts3_open(options, 4, &handle, &error) != RTS3_OK
 *         || rts3_sha256(content, size, key, &error) != RTS3_OK
 *         || rts3_store(handle, key, content, size, "image/png", 0, &error) != RTS3_OK) {
 *         fprintf(stderr, "%s\n", rts3_error_message(error));
 *         rts3_error_free(error);
 *     }
 *
 * Build with `pkg-config --cflags --libs rts3`.
 *
 * Keys. A key is the SHA-256 of the content: 64 hexadecimal digits, lower case.
 *
 * Texts are UTF-8 and end with a NUL.
 *
 * Options. All values are texts, times in seconds. One that is not given, or is NULL, has its default,
 * which stands in brackets here.
 *   Bucket               the bucket's name; must be given
 *   Prefix               put before each key
 *   Host                 host, host:port, or a URL with http:// or https:// [s3.amazonaws.com]
 *   Region               to sign for [learned from Host or from the server]
 *   AddressingStyle      path, virtual or auto [auto]
 *   AccessKeyId, SecretAccessKey, SessionToken   the keys [asked for where CredentialSource says]
 *   CredentialSource     environment, web-identity, profile, container or instance [each, in this order]
 *   Profile              the profile of ~/.aws [AWS_PROFILE, default]
 *   CreateBucket         0: rts3_create_bucket must not make it [1]
 *   ServerSideEncryption AES256 or aws:kms; with the latter SSEKMSKeyId, its key
 *   StorageClass, ExpectedBucketOwner            sent with what is written
 *   Checksum             always, never, auto: let the server keep the SHA-256, too [auto: Amazon's]
 *   CAFile               PEM: authorities beside those of the system
 *   Proxy                http://host:port or none [https_proxy, http_proxy and no_proxy of the environment]
 *   DirectLink           public or presigned [public]; DirectLinkExpires [3600]; DirectLinkHost: public only
 *   ConnectTimeout [3], ReadTimeout [15], Deadline [120]; Retries [4]: after the first attempt
 *   Concurrency          contents that rts3_bulk_open stores at once [32]
 *   CacheDir             where local copies are kept; CacheSize: bytes, or like 10 GiB [1 GiB]
 *   Type                 is there for Request Tracker's configuration, and means nothing here
 * Keys from the environment or a file in a home directory may not be those of the next user: nothing is
 * written with them (RTS3_CONFIG), unless CredentialSource or Profile says that it may.
 * An option with a mistake does not stop reading where a request can be formed at all; its mistake is
 * a message of level 1 (rts3_next_message), and where it touches what is written, writing fails with
 * RTS3_CONFIG until it is mended.
 *
 * Status and errors. A function returns RTS3_OK or the status of its failure, and then, if `error` is
 * not NULL, a new error object in `*error`, to be released with rts3_error_free. On success `*error`
 * is left as it is. Outputs are written only on success.
 *
 * Trying again. RTS3_NETWORK, RTS3_TIMEOUT, RTS3_THROTTLED, RTS3_SERVER and RTS3_UNAVAILABLE may pass: the
 * same call may succeed later, and does no harm if it did already. By then the library has tried as often as
 * Retries and the deadline let it, so wait some seconds at least. Any other status stays until somebody mends
 * an option, grants a right, or finds the object.
 *
 * Ownership. Arguments are borrowed for the call and never kept after it. What the library hands out
 * is released with rts3_free, errors with rts3_error_free; rts3_version and rts3_status_name return
 * static texts. Any pointer is allowed for a handle: one that is closed, or never was one, is
 * RTS3_ARGUMENT. NULL where it is not allowed is RTS3_ARGUMENT too.
 *
 * Time. `deadline_ms` bounds one call, in milliseconds: the time without success; 0 means the option
 * Deadline. A transfer that moves may go on beyond it, to that time plus the size at 64 kB/s. What
 * may pass is tried again within it, as the option Retries says.
 *
 * Outages. A server that is down is found out once: no connection could be made, or several objects
 * in a row got no answer or a 5xx. It is then not asked for 5 s, doubling to 60 s; calls fail at once
 * with RTS3_UNAVAILABLE, or wait for its recovery within their deadline (rts3_fail_fast). Handles of
 * processes that were forked after rts3_open share what they know of the server. Each change is a
 * message of level 2.
 *
 * Local copies. With CacheDir, rts3_store and rts3_get keep a copy of the content in a directory of the
 * process's user there, and rts3_get reads it again without the server, once its digest was found to be
 * the key. All processes of a user share CacheSize bytes. Trouble with copies is a message of level 2,
 * and fails no call.
 *
 * Threads. Any thread may call any function. Calls that use the network and the same handle take
 * turns; rts3_open with the same options gives the same handle. What is to run at once needs processes,
 * rts3_bulk_open, or handles that differ in an option. A call runs on the thread that makes it, the SHA-256
 * of a large content that is read on one beside it; between two calls nothing of the library runs, a name
 * look-up that outlived its call aside.
 *
 * Signals. Threads that the library starts have all signals blocked. No signal handler is installed,
 * and a connection that breaks raises no SIGPIPE. A call goes on when a signal handler returns.
 *
 * Forks. Handles stay valid in a child, which makes connections of its own. A fork may happen at any
 * moment; no connection, lock or thread of the parent is used in the child.
 *
 * Panics. Nothing that the caller or the server sends ends the process; a mistake of the library
 * itself is RTS3_INTERNAL.
 */


#ifndef RTS3_H
#define RTS3_H

/* Generated by script/header from src/ffi. Do not edit. */

#include <stddef.h>
#include <stdint.h>

/**
 * What came of a call. Numbers are never reused.
 */
enum rts3_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Success.
   */
  RTS3_OK = 0,
  /**
   * No request can be formed with these options, or writing is refused until one is mended.
   */
  RTS3_CONFIG = 1,
  /**
   * No credentials, or the server does not accept them.
   */
  RTS3_CREDENTIALS = 2,
  /**
   * The credentials have no right to do this, or the object is archived.
   */
  RTS3_DENIED = 3,
  /**
   * No object under this key.
   */
  RTS3_NOT_FOUND = 4,
  /**
   * The object's bytes are not the content of its key.
   */
  RTS3_CORRUPT = 5,
  /**
   * The content given is not that of the key given.
   */
  RTS3_MISMATCH = 6,
  /**
   * Name look-up, connection or TLS failed, or a connection broke.
   */
  RTS3_NETWORK = 7,
  /**
   * Stalled, or the deadline is over.
   */
  RTS3_TIMEOUT = 8,
  /**
   * The server asks to slow down.
   */
  RTS3_THROTTLED = 9,
  /**
   * The server failed, or its answer is not one of S3's.
   */
  RTS3_SERVER = 10,
  /**
   * Not even tried, because the server was just found to be down.
   */
  RTS3_UNAVAILABLE = 11,
  /**
   * A mistake of this library.
   */
  RTS3_INTERNAL = 12,
  /**
   * Misuse: NULL, text that is not UTF-8, a bad key, a closed handle, no room.
   */
  RTS3_ARGUMENT = 13,
  /**
   * The bucket does not exist.
   */
  RTS3_NO_BUCKET = 14,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rts3_status rts3_status;
#else
typedef uint32_t rts3_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Many contents on their way into a bucket. Opaque.
 */
typedef struct rts3_bulk rts3_bulk;

/**
 * A failure: its status and one line of text. Released with `rts3_error_free`.
 */
typedef struct rts3_error rts3_error;

/**
 * A bucket with its options. Opaque.
 */
typedef struct rts3_handle rts3_handle;

/**
 * Asked for room for `size` bytes, never 0, within a call of `rts3_get`. It may be asked again, for
 * more or for less, and works like realloc: what was written before stays. It returns the room's
 * address, or NULL where there is none. `context` is what `rts3_get` was given.
 */
typedef uint8_t *(*rts3_reserve)(void *context, size_t size);





#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Opens a bucket with these options and gives a handle to it. No network, no thread.
 *
 * `options`: `2 * count` strings, name, value, name, value …; a NULL value means that the option is
 * not given. Names, values and defaults are those of `%ExternalStorage` in RT's configuration.
 * The same options give the same handle, counted: close it as often as it was opened.
 *
 * Errors: `RTS3_CONFIG` where no request can be formed with these options; `RTS3_ARGUMENT`. Every
 * other mistake in the options is a message of level 1, see `rts3_next_message`.
 *
 * Safety:
 * `options` points to `2 * count` pointers, each NULL or a NUL-terminated string.
 */
rts3_status rts3_open(const char *const *options, size_t count, rts3_handle **handle, rts3_error **error);

/**
 * Closes a handle once. After the last close its connections are gone, and using it is an error.
 *
 * Safety:
 * Any pointer value is allowed for `handle`.
 */
rts3_status rts3_close(rts3_handle *handle, rts3_error **error);

/**
 * Stores `content` of `size` bytes, 5 GiB at most, under `key`. `RTS3_OK` means that the object in the bucket is
 * known to be the content, whole. An object that is there already is believed only after it was
 * read back; a damaged one is written over, with a message of level 2.
 *
 * `content_type`: the object's Content-Type, or NULL for application/octet-stream; one that can't
 * be sent is replaced by that, with a message. A type that a browser would run is stored with
 * `Content-Disposition: attachment`.
 *
 * Errors: `RTS3_MISMATCH` where `key` is not the SHA-256 of `content` (nothing is stored);
 * `RTS3_ARGUMENT` where it is too large; `RTS3_NO_BUCKET`; any other.
 *
 * Safety:
 * `content` points to `size` bytes (it may be NULL if `size` is 0); the strings are NUL-terminated.
 */
rts3_status rts3_store(rts3_handle *handle,
                       const char *key,
                       const uint8_t *content,
                       size_t size,
                       const char *content_type,
                       uint64_t deadline_ms,
                       rts3_error **error);

/**
 * Reads the content of `key`. The bytes given are those whose SHA-256 is `key`, always.
 * With a `deadline_ms` of 1 only a local copy is looked for (option CacheDir); where there is none, it is
 * `RTS3_TIMEOUT`.
 *
 * `*size`: the bytes of the content. Where `reserve` is not NULL, it is asked for room once the size is
 * known, and `*data` (`data` may be NULL then) becomes what it returned last. Where `reserve` is NULL,
 * the library allocates `*data`, to be released with `rts3_free`. Content of no bytes asks for no room: `*data` is NULL then.
 *
 * Errors: `RTS3_NOT_FOUND` (see `rts3_proven`); `RTS3_CORRUPT` where the object is there but is not
 * the content of `key`; `RTS3_ARGUMENT` where `reserve` returned NULL, or did not keep what was in
 * the room; any other. After an error what the room holds means nothing.
 *
 * Safety:
 * `key` is NUL-terminated; `reserve` returns NULL or the address of as many writable bytes as it
 * was asked for, which stay valid until it is called again or this function returns.
 */
rts3_status rts3_get(rts3_handle *handle,
                     const char *key,
                     uint64_t deadline_ms,
                     rts3_reserve reserve,
                     void *context,
                     uint8_t **data,
                     size_t *size,
                     rts3_error **error);

/**
 * Removes the object under `key`; gone or never there is success.
 *
 * Safety:
 * `key` is NUL-terminated.
 */
rts3_status rts3_delete(rts3_handle *handle, const char *key, uint64_t deadline_ms, rts3_error **error);

/**
 * Asks whether there is an object under `key`: `RTS3_OK` or `RTS3_NOT_FOUND`, or another error. It
 * says nothing about whether the object is whole. (S3 answers this question without saying whether
 * it is the bucket that is missing.)
 *
 * `*size` (`size` may be NULL): its size in bytes; UINT64_MAX where the server does not tell it. `*checksum` (`checksum` may be NULL): the SHA-256
 * that the server keeps of it, 64 hexadecimal digits, to be released with `rts3_free`; NULL where
 * it keeps none.
 *
 * Safety:
 * `key` is NUL-terminated.
 */
rts3_status rts3_head(rts3_handle *handle,
                      const char *key,
                      uint64_t deadline_ms,
                      uint64_t *size,
                      char **checksum,
                      rts3_error **error);

/**
 * Whether an object was read or stored with this handle, by this process or by one that was forked
 * from the same parent after `rts3_open`: `*proven` is 1 or 0. Before that, `RTS3_NOT_FOUND` may as well mean a mistake in Bucket or Prefix. No network.
 *
 * Safety:
 * `proven` points to an `int32_t`.
 */
rts3_status rts3_proven(rts3_handle *handle,
                        int32_t *proven,
                        rts3_error **error);

/**
 * What calls with this handle do while the server is known to be down: fail at once with
 * `RTS3_UNAVAILABLE` (`fail_fast` is 1: somebody waits at a screen), or wait for its recovery within
 * their deadline (0, as at first). It holds for this process and those forked from it later. No
 * network.
 *
 * Safety:
 * Any pointer value is allowed for `handle`.
 */
rts3_status rts3_fail_fast(rts3_handle *handle, int32_t fail_fast, rts3_error **error);

/**
 * The URL under which a browser can read the object, as the option DirectLink says. It holds letters,
 * digits and `-_.~%/?&=:` only, and fewer than 2,000 of them. No network, except where keys that are
 * about to expire have to be replaced. `*url` is to be released with `rts3_free`.
 *
 * `file_name`, `content_type`, `disposition` (`inline` or `attachment`, as which NULL counts): what the
 * browser is told of this download, or NULL. A public link can't carry them: the object has the type and
 * disposition it was stored with. A signed one does: a type that a browser would run, and no type at all,
 * is an attachment whatever is asked for; what is dangerous in a name is taken out, and what is too long
 * is cut.
 *
 * Safety:
 * The strings are NULL or NUL-terminated.
 */
rts3_status rts3_direct_url(rts3_handle *handle,
                            const char *key,
                            const char *file_name,
                            const char *content_type,
                            const char *disposition,
                            char **url,
                            rts3_error **error);

/**
 * The SHA-256 of `content`, which is its key. `hex`: 65 bytes of the caller's, which become 64
 * hexadecimal digits and a NUL.
 *
 * Safety:
 * `content` points to `size` bytes (it may be NULL if `size` is 0), `hex` to 65 writable bytes.
 */
rts3_status rts3_sha256(const uint8_t *content, size_t size, char *hex, rts3_error **error);

/**
 * Takes the oldest message for the log out of the handle's queue: `*text`, one line, to be released
 * with `rts3_free`; NULL where there is none. `*level`: 1 error, 2 warning, 3 information. No network.
 * Ask after `rts3_open` and after every other call, until there is none.
 *
 * Safety:
 * `level` points to a `uint32_t`, `text` to a pointer.
 */
rts3_status rts3_next_message(rts3_handle *handle, uint32_t *level, char **text, rts3_error **error);

/**
 * Releases memory that the library has handed out, other than an error. NULL is allowed.
 *
 * Safety:
 * `memory` was handed out by this library, and not released yet.
 */
void rts3_free(void *memory);

/**
 * The library's version, such as "0.1.0". Never to be released.
 */
const char *rts3_version(void);

/**
 * Makes the bucket, in the region in force; one that is there and ours is success. A Store in this
 * process then tries for up to 60 s while the new bucket is not visible yet.
 *
 * Errors: `RTS3_CONFIG` where the option CreateBucket is 0; any other.
 *
 * Safety:
 * Any pointer value is allowed for `handle`.
 */
rts3_status rts3_create_bucket(rts3_handle *handle, uint64_t deadline_ms, rts3_error **error);

/**
 * Finds out whether objects may be stored, without storing one (it begins an upload in parts and
 * drops it). `RTS3_NO_BUCKET` where the bucket is missing.
 *
 * `*credentials` (`credentials` may be NULL): where the credentials come from: "options", "environment",
 * "web-identity", "profile", "container" or "instance"; to be released with `rts3_free`.
 *
 * Safety:
 * Any pointer value is allowed for `handle`.
 */
rts3_status rts3_probe(rts3_handle *handle, uint64_t deadline_ms, char **credentials, rts3_error **error);

/**
 * Lists the objects of the bucket below the option Prefix, in the order of their names, up to 1,000 at a
 * time. `after`: the name, without the prefix and not percent-encoded, after which to go on, or NULL.
 *
 * `*objects`: a line for each, its name without the prefix (percent-encoded, of which a key is not
 * changed), a tab, its size in bytes, a newline; to be released with `rts3_free`. `*more`: whether there
 * are more.
 *
 * Safety:
 * `after` is NULL or NUL-terminated.
 */
rts3_status rts3_list(rts3_handle *handle,
                      const char *after,
                      uint64_t deadline_ms,
                      char **objects,
                      int32_t *more,
                      rts3_error **error);

/**
 * What the bucket says of itself, for whoever looks whether it is as it should be. `document`: one of
 * S3's, which come in XML: "location", "lifecycle", "versioning", "encryption", "object-lock",
 * "policyStatus", "publicAccessBlock", "acl", "uploads"; or what is known here, as lines of `name: value`:
 * "credentials" (source, access-key-id, expires, in seconds since 1970, where they do), "learned" (region,
 * style, condition, clock-offset), "failures" (how many calls failed in the last day, by the name of their status; those of this
 * process and of others forked from the same parent after `rts3_open`), "cache" (directory, limit, bytes, hits,
 * misses; nothing without the option CacheDir). `*text` is to be released with `rts3_free`.
 *
 * Safety:
 * `document` is NUL-terminated.
 */
rts3_status rts3_inspect(rts3_handle *handle,
                         const char *document,
                         uint64_t deadline_ms,
                         char **text,
                         rts3_error **error);

/**
 * Begins to store many contents at once. No network, no thread yet: those that store are born with all
 * signals blocked, and live until `rts3_bulk_close`. It belongs to the process that made it; any of its
 * threads may use it.
 *
 * `concurrency`: uploads under way at once, at most; 0 means what the option Concurrency says. `memory`: bytes of contents that it may
 * hold; 0 means 256 MiB.
 *
 * Safety:
 * Any pointer value is allowed for `handle`.
 */
rts3_status rts3_bulk_open(rts3_handle *handle,
                           uint32_t concurrency,
                           uint64_t memory,
                           rts3_bulk **bulk,
                           rts3_error **error);

/**
 * Takes a copy of `content`, to be hashed and stored as `rts3_store` does, within the option Deadline
 * from when its turn comes. `id`: a number of the caller's, which comes back with the result. `key`: the
 * SHA-256 that the content must have, or NULL.
 *
 * `*accepted`: 0 where there is no room for it before another content is done: take a result, and try
 * again. A content that is larger than all the room is taken when nothing else is held.
 *
 * Safety:
 * `content` points to `size` bytes (it may be NULL if `size` is 0); the strings are NULL or NUL-terminated.
 */
rts3_status rts3_bulk_submit(rts3_bulk *bulk,
                             uint64_t id,
                             const char *key,
                             const uint8_t *content,
                             size_t size,
                             const char *content_type,
                             int32_t *accepted,
                             rts3_error **error);

/**
 * Waits for the result of any content, for `timeout_ms`, and never longer than 200 ms.
 *
 * `*found`: whether there is one. If so, `*id` is the number that the content was submitted with, and
 * either `*failure` is NULL, `key`, 65 bytes of the caller's, is the key that it is stored under, and
 * `*existed` says whether the object may have been there before (then somebody who found it unused may be
 * about to delete it), or `*failure` is an error, to be released with `rts3_error_free`. `*outstanding`: contents whose result
 * was not taken yet; 0: all is done.
 *
 * Safety:
 * The outputs are as large as said.
 */
rts3_status rts3_bulk_wait(rts3_bulk *bulk,
                           uint64_t timeout_ms,
                           int32_t *found,
                           uint64_t *id,
                           char *key,
                           int32_t *existed,
                           rts3_error **failure,
                           uint64_t *outstanding,
                           rts3_error **error);

/**
 * Ends it. Contents that are not done are given up: they may be stored, or not. Returns when the threads
 * are over, soon.
 *
 * Safety:
 * Any pointer value is allowed for `bulk`.
 */
rts3_status rts3_bulk_close(rts3_bulk *bulk, rts3_error **error);

/**
 * The error's status; `RTS3_OK` for NULL.
 *
 * Safety:
 * `error` is NULL or an error of this library that was not released yet.
 */
rts3_status rts3_error_status(const rts3_error *error);

/**
 * One line of UTF-8 that says what failed and, where known, what to do. It lives as long as the
 * error. An empty string for NULL.
 *
 * Safety:
 * `error` is NULL or an error of this library that was not released yet.
 */
const char *rts3_error_message(const rts3_error *error);

/**
 * Releases an error. NULL is allowed.
 *
 * Safety:
 * `error` is NULL or an error of this library that was not released yet.
 */
void rts3_error_free(rts3_error *error);

/**
 * The status's name, such as "not-found"; "ok" for `RTS3_OK`, "unknown" for a number that is none.
 * Never to be released.
 */
const char *rts3_status_name(uint32_t status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RTS3_H */
