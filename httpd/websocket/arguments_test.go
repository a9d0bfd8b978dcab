package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// An operation is a call with an argument that is not valid because it is nil or has its zero value, and a part of the text that names the operation.
type operation struct {
	call func() error
	want string
}

// ignore returns the error of two results.
func ignore(_ any, err error) error { return err }

// makers are functions that make handlers and WebSockets.
func makers(t *testing.T) map[string]operation {
	config := websocket.Config{Message: echo}
	valid, err := websocket.NewHandler(&config)
	testkit.Must(t, err)
	srv := &server.Server{}
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	var ctx context.Context
	dial := func(ctx context.Context, cfg *websocket.DialConfig) error {
		return ignore(websocket.Dial(ctx, "ws://127.0.0.1:1", cfg))
	}
	return map[string]operation{
		"NewHandler(nil)":                {func() error { return ignore(websocket.NewHandler(nil)) }, "Config"},
		"NewHandler of the zero Config":  {func() error { return ignore(websocket.NewHandler(&websocket.Config{})) }, "Message"},
		"Upgrade of the zero Handler":    {func() error { return ignore(new(websocket.Handler).Upgrade(httptest.NewRecorder(), request)) }, "upgrade"},
		"Upgrade without ResponseWriter": {func() error { return ignore(valid.Upgrade(nil, request)) }, "upgrade"},
		"Upgrade without Request":        {func() error { return ignore(valid.Upgrade(httptest.NewRecorder(), nil)) }, "upgrade"},
		"ServeHTTP of the zero Handler":  {func() error { new(websocket.Handler).ServeHTTP(httptest.NewRecorder(), request); return nil }, "upgrade"},
		"ServeHTTP without arguments":    {func() error { valid.ServeHTTP(nil, nil); return nil }, "upgrade"},
		"Dial without context":           {func() error { return dial(ctx, &websocket.DialConfig{Server: srv, Handler: valid}) }, "dial"},
		"Dial without DialConfig":        {func() error { return dial(t.Context(), nil) }, "dial"},
		"Dial with the zero DialConfig":  {func() error { return dial(t.Context(), &websocket.DialConfig{}) }, "dial"},
		"Dial without Handler":           {func() error { return dial(t.Context(), &websocket.DialConfig{Server: srv}) }, "dial"},
		"Dial with the zero Handler": {func() error {
			return dial(t.Context(), &websocket.DialConfig{Server: srv, Handler: new(websocket.Handler)})
		}, "dial"},
		"Dial with a Server not started": {func() error { return dial(t.Context(), &websocket.DialConfig{Server: srv, Handler: valid}) }, "dial"},
		"Dial without URL": {func() error {
			return ignore(websocket.Dial(t.Context(), "", &websocket.DialConfig{Server: srv, Handler: valid}))
		}, "dial"},
		"Prepare(0, nil)": {func() error { return ignore(websocket.Prepare(0, nil)) }, "message"},
	}
}

// users are methods of WebSockets, and functions that write to them.
func users(t *testing.T, c *websocket.Conn, g *websocket.Group) map[string]operation {
	var zero websocket.Reply
	first := func(refused []websocket.BroadcastError) error {
		if len(refused) == 0 {
			return nil
		}
		return refused[0]
	}
	return map[string]operation{
		"Conn.WriteMessage(0, nil)":     {func() error { return c.WriteMessage(0, nil) }, "write"},
		"Conn.WriteNotify(0, nil, nil)": {func() error { return c.WriteNotify(0, nil, nil) }, "write"},
		"Conn.WritePrepared(nil, nil)":  {func() error { return c.WritePrepared(nil, nil) }, "write"},
		"Conn.WritePrepared of zero":    {func() error { return c.WritePrepared(new(websocket.Prepared), nil) }, "write"},
		"Conn.Close(0, nothing)":        {func() error { return c.Close(0, "") }, "close"},
		"Broadcast to nil": {func() error {
			return first(websocket.Broadcast([]*websocket.Conn{nil}, prepared(t, websocket.Text, "x"), nil))
		}, "broadcast"},
		"Broadcast of nil":                {func() error { return first(websocket.Broadcast([]*websocket.Conn{c}, nil, nil)) }, "broadcast"},
		"Broadcast of the zero Prepared":  {func() error { return first(websocket.Broadcast([]*websocket.Conn{c}, new(websocket.Prepared), nil)) }, "broadcast"},
		"Group.Add(nil)":                  {func() error { return g.Add(nil) }, "add to a group"},
		"Reply.WriteMessage of zero":      {func() error { return zero.WriteMessage(websocket.Text, nil) }, "Reply.WriteMessage"},
		"Reply.WriteText of zero":         {func() error { return zero.WriteText("") }, "Reply.WriteMessage"},
		"Reply.WriteBinary of zero":       {func() error { return zero.WriteBinary(nil) }, "Reply.WriteMessage"},
		"Reply.WritePrepared of zero":     {func() error { return zero.WritePrepared(prepared(t, websocket.Text, "x")) }, "Reply.WritePrepared"},
		"Reply.Flush of zero":             {zero.Flush, "Reply.Flush"},
		"Reply.Notify of zero":            {func() error { return zero.Notify(func(error) {}) }, "Reply.Notify"},
		"Reply.Blocking of zero":          {func() error { zero.Blocking(); return nil }, "Reply.Blocking"},
		"Reply.Context of zero":           {func() error { zero.Context(); return nil }, "Reply.Context"},
		"Write of a NetConn without type": {func() error { return ignore(c.NetConn(0).Write([]byte("x"))) }, "write"},
	}
}

// Each function and method returns an error, or panics with a text that names the operation, if an argument is nil or has its zero value and that is not valid.
func TestNilAndZeroArgumentsAreReported(t *testing.T) {
	s, opened := conns(t, websocket.Config{Message: echo})
	p := s.dial(t, "")
	c := p.conn(opened)
	var g websocket.Group
	for _, operations := range []map[string]operation{makers(t), users(t, c, &g)} {
		for name, test := range operations {
			err, panicked := reported(test.call)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v; want an error that contains %q", name, err, test.want)
			}
			if !panicked && !errors.Is(err, websocket.ErrInvalid) && !strings.Contains(name, "not started") {
				t.Errorf("%s: %v is not ErrInvalid", name, err)
			}
		}
	}
	testkit.Must(t, c.WriteText("")) // nothing was sent before, and an empty message is valid
	p.want(0x80|opText, "")
	testkit.Must(t, c.Ping(nil))
	p.want(0x80|opPing, "")
	c.SetValue(nil)
	testkit.WantEqual(t, "Value", c.Value(), nil)
	testkit.WantEqual(t, "Remove of nil", g.Remove(nil), false)
	testkit.WantEqual(t, "members", g.Len()+len(g.Members()), 0)
	testkit.WantEqual(t, "Conn of the zero Reply", websocket.Reply{}.Conn(), nil)
	testkit.WantEqual(t, "Stats of the zero Handler", new(websocket.Handler).Stats(), websocket.Stats{})
}

// reported returns the error that fn returns, or with which it panics.
func reported(fn func() error) (err error, panicked bool) {
	defer func() {
		if v := recover(); v != nil {
			err, panicked = fmt.Errorf("panic: %v", v), !strings.Contains(fmt.Sprint(v), "nil pointer")
		}
	}()
	return fn(), false
}
