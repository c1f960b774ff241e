/*-------------------------------------------------------------------------
 *
 * http.c
 *      HTTP requests that never block, over libcurl's multi interface.
 *
 * Invariants:
 *  (1) No callback of ours runs inside libcurl's frames: its callbacks only
 *      fill buffers, http_process() hands them out afterwards.
 *  (2) HTTP_NOT_SENT is said only when no byte of the request left libcurl.
 *  (3) A thread that libcurl starts has all signals blocked.
 *
 * libcurl by itself sends a request again when a kept connection died before
 * the first byte of the answer.  That is what keeps stale connections from
 * hurting, but it may do something twice: HttpAnswer.repeated tells of it.
 *-------------------------------------------------------------------------
 */
#include "dcs/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/clock.h"

#define HTTP_BODY_MAX		((size_t) 16 * 1024 * 1024)
#define HTTP_EVENTS_MAX		32

struct Http
{
	CURLM	   *multi;
	int			epoll_fd;
	int64_t		timer_due_ms;		/* -1 = none */
	HttpRequest *requests;
	HttpRequest *delivering;		/* whose "data" is being called */
};

struct HttpRequest
{
	Http	   *http;
	HttpRequest *next;
	HttpRequest *previous;
	CURL	   *easy;
	struct curl_slist *headers;
	char	   *body;				/* owned; what is sent */
	char		curl_error[CURL_ERROR_SIZE];
	int			dead_peer_ms;
	int			n_sent;				/* how often sending began */

	char	   *buffer;				/* owned; what was received */
	size_t		used;
	size_t		size;
	size_t		limit;
	bool		is_too_long;

	void		(*done) (void *context, const HttpAnswer *answer);
	bool		(*data) (void *context, const char *data, size_t length);
	void	   *context;
};

/* Block everything that can be blocked; a thread started now inherits that. */
static void
signals_block(sigset_t *saved)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
	sigset_t	all;
	size_t		i;

	sigfillset(&all);
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, saved);
}

/* Undo signals_block(), swallowing a SIGPIPE that TLS writes may have raised. */
static void
signals_restore(const sigset_t *saved)
{
	if (sigismember(saved, SIGPIPE) == 0)
	{
		static const struct timespec no_wait = {0, 0};
		sigset_t	pipe_only;

		sigemptyset(&pipe_only);
		sigaddset(&pipe_only, SIGPIPE);
		(void) sigtimedwait(&pipe_only, NULL, &no_wait);
	}
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

/* libcurl wants to know of other events of a socket. */
static int
socket_callback(CURL *easy, curl_socket_t fd, int what, void *context, void *socket_context)
{
	Http	   *http = context;
	struct epoll_event event;

	(void) easy;
	(void) socket_context;
	memset(&event, 0, sizeof(event));
	event.data.fd = fd;
	if (what == CURL_POLL_REMOVE)
	{
		(void) epoll_ctl(http->epoll_fd, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (epoll_ctl(http->epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0 &&
		epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		return -1;
	return 0;
}

static int
timer_callback(CURLM *multi, long timeout_ms, void *context)
{
	Http	   *http = context;

	(void) multi;
	http->timer_due_ms = timeout_ms < 0 ? -1 : clock_now_ms() + timeout_ms;
	return 0;
}

static int
sockopt_callback(void *context, curl_socket_t fd, curlsocktype purpose)
{
	HttpRequest *request = context;
	unsigned	user_timeout_ms = (unsigned) request->dead_peer_ms;
	int			on = 1;
	int			idle_s = request->dead_peer_ms / 3000;
	int			interval_s;
	int			count = 3;

	if (purpose != CURLSOCKTYPE_IPCXN || request->dead_peer_ms <= 0)
		return CURL_SOCKOPT_OK;
	if (idle_s < 1)
		idle_s = 1;
	interval_s = (request->dead_peer_ms / 1000 - idle_s) / count;
	if (interval_s < 1)
		interval_s = 1;

	/* All of these make a broken peer known sooner; none is indispensable. */
	(void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
					  sizeof(user_timeout_ms));
	return CURL_SOCKOPT_OK;
}

/* A connection stands and the request is about to be sent on it. */
static int
prereq_callback(void *context, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
	HttpRequest *request = context;

	(void) peer_ip;
	(void) own_ip;
	(void) peer_port;
	(void) own_port;
	request->n_sent++;
	return CURL_PREREQFUNC_OK;
}

static size_t
write_callback(char *data, size_t size, size_t n, void *context)
{
	HttpRequest *request = context;
	size_t		length = size * n;

	if (length > request->limit - request->used)
	{
		request->is_too_long = true;
		return 0;
	}
	if (request->used + length + 1 > request->size)
	{
		size_t		wanted = request->size > 0 ? request->size : 2048;
		char	   *buffer;

		while (wanted < request->used + length + 1)
			wanted *= 2;
		buffer = realloc(request->buffer, wanted);
		if (buffer == NULL)
			return 0;
		request->buffer = buffer;
		request->size = wanted;
	}
	memcpy(request->buffer + request->used, data, length);
	request->used += length;
	request->buffer[request->used] = '\0';
	return length;
}

/* Prepare an HTTP client.  One thread may use it. */
bool
http_open(Http **http, Error *error)
{
	static bool is_initialised = false;
	Http	   *new;

	*http = NULL;
	if (!is_initialised)
	{
		if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
			return error_set(error, "could not initialize libcurl");
		is_initialised = true;
	}
	new = calloc(1, sizeof(*new));
	if (new == NULL)
		return error_set(error, "out of memory");
	new->timer_due_ms = -1;
	new->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (new->epoll_fd < 0)
	{
		error_set(error, "could not create epoll descriptor: %s", strerror(errno));
		free(new);
		return false;
	}
	new->multi = curl_multi_init();
	if (new->multi == NULL)
	{
		close(new->epoll_fd);
		free(new);
		return error_set(error, "out of memory");
	}
	curl_multi_setopt(new->multi, CURLMOPT_SOCKETFUNCTION, socket_callback);
	curl_multi_setopt(new->multi, CURLMOPT_SOCKETDATA, new);
	curl_multi_setopt(new->multi, CURLMOPT_TIMERFUNCTION, timer_callback);
	curl_multi_setopt(new->multi, CURLMOPT_TIMERDATA, new);
	curl_multi_setopt(new->multi, CURLMOPT_PIPELINING, (long) CURLPIPE_NOTHING);
	*http = new;
	return true;
}

/* Take a request out of everything and free it. */
static void
request_free(HttpRequest *request)
{
	Http	   *http = request->http;
	sigset_t	saved;

	if (http->delivering == request)
		http->delivering = NULL;
	if (request->previous != NULL)
		request->previous->next = request->next;
	else
		http->requests = request->next;
	if (request->next != NULL)
		request->next->previous = request->previous;

	signals_block(&saved);
	curl_multi_remove_handle(http->multi, request->easy);
	curl_easy_cleanup(request->easy);
	signals_restore(&saved);
	curl_slist_free_all(request->headers);
	if (request->body != NULL)
		explicit_bzero(request->body, strlen(request->body));
	free(request->body);
	free(request->buffer);
	free(request);
}

/* End all requests without callbacks.  Not from inside a callback. */
void
http_close(Http *http)
{
	sigset_t	saved;

	if (http == NULL)
		return;
	while (http->requests != NULL)
		request_free(http->requests);
	signals_block(&saved);
	curl_multi_cleanup(http->multi);
	signals_restore(&saved);
	close(http->epoll_fd);
	free(http);
}

/* Readable when http_process() has something to do. */
int
http_fd(const Http *http)
{
	return http->epoll_fd;
}

/* How long http_process() may wait if http_fd() stays silent. */
int
http_timeout_ms(const Http *http, int64_t now_ms)
{
	if (http->timer_due_ms < 0)
		return -1;
	if (http->timer_due_ms <= now_ms)
		return 0;
	return http->timer_due_ms - now_ms > 60000 ? 60000 : (int) (http->timer_due_ms - now_ms);
}

/* Hand out what streams received. */
static void
deliver_streams(Http *http)
{
	HttpRequest *request = http->requests;

	while (request != NULL)
	{
		char	   *buffer;
		size_t		used;
		bool		go_on;

		if (request->data == NULL || request->used == 0)
		{
			request = request->next;
			continue;
		}
		buffer = request->buffer;
		used = request->used;
		request->buffer = NULL;
		request->used = request->size = 0;

		http->delivering = request;
		go_on = request->data(request->context, buffer, used);
		free(buffer);
		if (http->delivering == request && !go_on)
		{
			Error		error;
			HttpAnswer	answer = {.outcome = HTTP_UNKNOWN,.body = "",.error = &error};

			error_clear(&error);
			error_set(&error, "stream was ended by its reader");
			if (request->done != NULL)
				request->done(request->context, &answer);
			request_free(request);
		}
		http->delivering = NULL;

		/* The callback may have changed the list: begin again. */
		request = http->requests;
	}
}

/* Tell of one request that ended. */
static void
finish(HttpRequest *request, CURLcode code)
{
	HttpAnswer	answer;
	Error		error;
	long		status = 0;
	long		request_size = 0;

	error_clear(&error);
	memset(&answer, 0, sizeof(answer));
	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(request->easy, CURLINFO_REQUEST_SIZE, &request_size);
	answer.status = (int) status;
	answer.body = request->buffer != NULL ? request->buffer : "";
	answer.length = request->used;
	answer.repeated = request->n_sent > 1;
	if (code == CURLE_OK)
		answer.outcome = HTTP_ANSWERED;
	else
	{
		answer.outcome = request->n_sent == 0 && request_size == 0 ?
			HTTP_NOT_SENT : HTTP_UNKNOWN;
		if (request->is_too_long)
			error_set(&error, "answer is longer than %zu bytes", request->limit);
		else
			error_set(&error, "%s", request->curl_error[0] != '\0' ?
					  request->curl_error : curl_easy_strerror(code));
		answer.error = &error;
	}
	if (request->done != NULL)
		request->done(request->context, &answer);
	request_free(request);
}

/* Do what can be done now; calls the callbacks.  Never waits. */
void
http_process(Http *http, int64_t now_ms)
{
	struct epoll_event events[HTTP_EVENTS_MAX];
	CURLMsg    *message;
	sigset_t	saved;
	int			n_events;
	int			n_running;
	int			n_left;
	int			i;

	n_events = epoll_wait(http->epoll_fd, events, HTTP_EVENTS_MAX, 0);
	/* what libcurl has to say it says while it is called: mostly there is nothing */
	if (n_events <= 0 && (http->timer_due_ms < 0 || http->timer_due_ms > now_ms))
		return;
	signals_block(&saved);
	for (i = 0; i < n_events; i++)
	{
		int			what = 0;

		if (events[i].events & (EPOLLIN | EPOLLHUP))
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & EPOLLERR)
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(http->multi, events[i].data.fd, what, &n_running);
	}
	if (http->timer_due_ms >= 0 && http->timer_due_ms <= now_ms)
	{
		http->timer_due_ms = -1;
		curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &n_running);
	}
	signals_restore(&saved);

	deliver_streams(http);
	while ((message = curl_multi_info_read(http->multi, &n_left)) != NULL)
	{
		char	   *private = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
		finish((HttpRequest *) private, message->data.result);
	}
}

static bool
add_header(HttpRequest *request, const char *name, const char *value)
{
	size_t		size = strlen(name) + strlen(value) + 3;
	char	   *line;
	struct curl_slist *headers;

	/* A line break would smuggle in headers. */
	if (strpbrk(value, "\r\n") != NULL)
		return false;
	line = malloc(size);
	if (line == NULL)
		return false;
	strcpy(line, name);
	strcat(line, value[0] != '\0' ? ": " : ":");
	strcat(line, value);
	headers = curl_slist_append(request->headers, line);
	explicit_bzero(line, strlen(line));
	free(line);
	if (headers == NULL)
		return false;
	request->headers = headers;
	return true;
}

/* Set an option whose absence would be a risk; false when libcurl refuses. */
#define MUST_SET(easy, option, value) \
	do { \
		if (curl_easy_setopt(easy, option, value) != CURLE_OK) \
			return false; \
	} while (0)

static bool
is_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

static bool
configure(HttpRequest *request, const HttpOptions *options)
{
	CURL	   *easy = request->easy;

	MUST_SET(easy, CURLOPT_URL, options->url);
	MUST_SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	MUST_SET(easy, CURLOPT_NOSIGNAL, 1L);
	MUST_SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
	MUST_SET(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	MUST_SET(easy, CURLOPT_PRIVATE, (char *) request);
	MUST_SET(easy, CURLOPT_ERRORBUFFER, request->curl_error);
	MUST_SET(easy, CURLOPT_WRITEFUNCTION, write_callback);
	MUST_SET(easy, CURLOPT_WRITEDATA, request);
	MUST_SET(easy, CURLOPT_PREREQFUNCTION, prereq_callback);
	MUST_SET(easy, CURLOPT_PREREQDATA, request);
	MUST_SET(easy, CURLOPT_SOCKOPTFUNCTION, sockopt_callback);
	MUST_SET(easy, CURLOPT_SOCKOPTDATA, request);
	MUST_SET(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	MUST_SET(easy, CURLOPT_USERAGENT, "patroni_bgw/1.0");
	/* "" also turns off the proxies of the environment. */
	MUST_SET(easy, CURLOPT_PROXY, is_given(options->proxy) ? options->proxy : "");
	if (options->connect_timeout_ms > 0)
		MUST_SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) options->connect_timeout_ms);
	if (options->timeout_ms > 0)
		MUST_SET(easy, CURLOPT_TIMEOUT_MS, (long) options->timeout_ms);

	if (options->body != NULL)
	{
		request->body = strdup(options->body);
		if (request->body == NULL)
			return false;
		MUST_SET(easy, CURLOPT_POST, 1L);
		MUST_SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) strlen(request->body));
		MUST_SET(easy, CURLOPT_POSTFIELDS, request->body);
		if (!add_header(request, "Content-Type", is_given(options->content_type) ?
						options->content_type : "application/json"))
			return false;
		/* Do not wait for "100 Continue". */
		if (!add_header(request, "Expect", ""))
			return false;
	}
	if (is_given(options->method))
	{
		if (strcmp(options->method, "HEAD") == 0)
			MUST_SET(easy, CURLOPT_NOBODY, 1L);
		else if (strcmp(options->method, options->body != NULL ? "POST" : "GET") != 0)
			MUST_SET(easy, CURLOPT_CUSTOMREQUEST, options->method);
	}
	if (is_given(options->authorization) &&
		!add_header(request, "authorization", options->authorization))
		return false;
	if (request->headers != NULL)
		MUST_SET(easy, CURLOPT_HTTPHEADER, request->headers);
	if (is_given(options->username))
	{
		MUST_SET(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
		MUST_SET(easy, CURLOPT_USERNAME, options->username);
		MUST_SET(easy, CURLOPT_PASSWORD, options->password != NULL ? options->password : "");
	}

	if (options->insecure)
		MUST_SET(easy, CURLOPT_SSL_VERIFYPEER, 0L);
	if (options->insecure || options->any_host)
		MUST_SET(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	if (is_given(options->cacert))
		MUST_SET(easy, CURLOPT_CAINFO, options->cacert);
	if (is_given(options->cert))
		MUST_SET(easy, CURLOPT_SSLCERT, options->cert);
	if (is_given(options->key))
		MUST_SET(easy, CURLOPT_SSLKEY, options->key);
	if (is_given(options->key_password))
		MUST_SET(easy, CURLOPT_KEYPASSWD, options->key_password);
	return true;
}

/*
 * Start a request.  Its "done" is called once, from http_process(), unless it
 * is cancelled.  NULL when there is no memory or an option is unusable.
 */
HttpRequest *
http_start(Http *http, const HttpOptions *options)
{
	HttpRequest *request = calloc(1, sizeof(*request));
	sigset_t	saved;
	bool		ok;

	if (request == NULL)
		return NULL;
	request->http = http;
	request->done = options->done;
	request->data = options->data;
	request->context = options->context;
	request->dead_peer_ms = options->dead_peer_ms;
	request->limit = options->body_max > 0 ? options->body_max : HTTP_BODY_MAX;
	request->easy = curl_easy_init();
	if (request->easy == NULL)
	{
		free(request);
		return NULL;
	}
	signals_block(&saved);
	ok = configure(request, options) &&
		curl_multi_add_handle(http->multi, request->easy) == CURLM_OK;
	signals_restore(&saved);

	request->next = http->requests;
	if (request->next != NULL)
		request->next->previous = request;
	http->requests = request;
	if (!ok)
	{
		request_free(request);
		return NULL;
	}
	return request;
}

/* End a request without a callback.  Not allowed after "done" was called. */
void
http_cancel(HttpRequest *request)
{
	if (request != NULL)
		request_free(request);
}
