package httpd

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"

	"github.com/evmq/evmq/httpd/internal/http1"
	"github.com/evmq/evmq/server"
)

// An exchange is a request and its response. It is used once, since handlers may keep parts of it.
type exchange struct {
	c    conn
	req  http.Request
	ctx  requestContext
	resp response
	url  url.URL      // of most requests
	body *requestBody // nil without a body
}

// emptyRequest is copied for each request, because only Request.WithContext sets a context.
var emptyRequest = new(http.Request)

// serveRequest serves the request with this head. It runs on the loop or on a worker.
func (h *connHandler) serveRequest(w server.Reply, head []byte) {
	x := new(exchange)
	x.c = h.connOf(w.Conn())
	c := &x.c
	c.notify(http.StateActive)
	x.ctx.base, x.ctx.reply = c.context(), w
	x.req = *emptyRequest.WithContext(&x.ctx)
	req := &x.req
	req.URL = &x.url
	if err := http1.ParseRequest(string(head), req); err != nil {
		c.refuse(w, err)
		return
	}
	req.RemoteAddr, req.TLS = c.remoteAddr(), c.tlsState()
	x.body = newBody(w, req)
	x.resp.init(w, c, req, x.body)
	if !x.meetsExpectation(c, req) {
		return
	}
	c.startTimers(x.body)
	x.run(h, req)
}

// refuse responds to a request whose head is not valid, and closes the connection.
func (c *conn) refuse(w server.Reply, err error) {
	var refused *http1.StatusError
	if !errors.As(err, &refused) {
		refused = &http1.StatusError{Status: http.StatusBadRequest}
	}
	_, _ = w.Write(refusal(refused)) // fails if the connection is closed
	c.close(w.Notify)
}

// meetsExpectation handles the field Expect. It returns false if it has sent the response.
func (x *exchange) meetsExpectation(c *conn, req *http.Request) bool {
	expect := firstValue(req.Header["Expect"])
	switch {
	case expect == "":
	case http1.HasWord(expect, "100-continue"):
		if req.ProtoAtLeast(1, 1) && req.ContentLength != 0 {
			x.body.expectsContinue(&x.resp)
		}
	default:
		x.resp.Header().Set("Connection", "close")
		x.resp.WriteHeader(http.StatusExpectationFailed)
		x.finish(c, req)
		return false
	}
	return true
}

// run calls the handler, and completes the response.
func (x *exchange) run(h *connHandler, req *http.Request) {
	c := x.resp.c
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // it is compared as package net/http does
			h.s.logf("httpd: panic serving %v: %v\n%s", req.RemoteAddr, v, debug.Stack())
		}
		x.abort()
	}()
	if req.RequestURI == "*" && req.Method == http.MethodOptions && !h.s.DisableGeneralOptionsHandler {
		serveOptions(&x.resp, req)
	} else {
		h.handler.ServeHTTP(&x.resp, req)
	}
	x.finish(c, req)
	returned = true
}

// serveOptions responds to "OPTIONS *".
func serveOptions(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Length", "0")
	if req.ContentLength != 0 {
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, req.Body, 4<<10)) // a longer body closes the connection
	}
}

// finish completes the response when the handler has returned, unless it is parked.
func (x *exchange) finish(c *conn, req *http.Request) {
	if x.resp.isHijacked() {
		x.ctx.end(context.Canceled)
		return
	}
	isParked := x.resp.phase == phaseParked
	reuse := isParked || x.resp.finish()
	x.body.end()
	if req.MultipartForm != nil {
		_ = req.MultipartForm.RemoveAll() // temporary files that cannot be removed concern no client
	}
	if isParked {
		return
	}
	x.ctx.end(context.Canceled)
	c.handlerReturned(x.resp.w)
	if !reuse || c.h.s.noKeepAlives.Load() {
		c.close(x.resp.w.Notify)
		return
	}
	c.notify(http.StateIdle)
}

// abort is called when the handler has panicked or called runtime.Goexit. It closes the connection when all that the handler has sent is
// written. After Upgrade, it ends the connection at once; after Hijack, the program still has the connection.
func (x *exchange) abort() {
	if p := x.ctx.parkedAs(); p != nil {
		p.fail(errHandlerFailed)
		return
	}
	x.ctx.end(context.Canceled)
	if x.resp.phase == phaseUpgraded {
		x.resp.c.sc.Abort()
	}
	if !x.resp.isHijacked() {
		x.resp.discard()
		x.resp.c.handlerReturned(x.resp.w)
		x.resp.c.close(x.resp.w.Notify)
	}
}
