// Fasthttp is an HTTP server on github.com/valyala/fasthttp.
package main

import (
	"io"
	"log"
	"math"
	"net"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/evmq/evmq/bench/internal/httppeer"
	"github.com/evmq/evmq/bench/internal/peer"
)

func main() {
	o := httppeer.Parse(peer.Loops, peer.Placement)
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		log.Fatal(err)
	}
	peer.Listening(ln.Addr())
	// Without StreamRequestBody, a body is in memory before the handler is called.
	s := &fasthttp.Server{
		Handler: handler(o.File), StreamRequestBody: true, MaxRequestBodySize: math.MaxInt,
		NoDefaultServerHeader: true, // so that its responses have the fields, and the length, of the others
	}
	log.Fatal(s.Serve(ln))
}

func handler(file string) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case "/":
			ctx.SetBodyString(httppeer.Hello)
		case "/json":
			writeJSON(ctx, httppeer.JSON())
		case "/db":
			writeJSON(ctx, httppeer.Query())
		case "/file":
			fasthttp.ServeFileUncompressed(ctx, file)
		case "/upload":
			upload(ctx)
		default:
			ctx.NotFound()
		}
	}
}

func writeJSON(ctx *fasthttp.RequestCtx, body []byte) {
	ctx.SetContentType("application/json")
	ctx.Response.SetBodyRaw(body)
}

func upload(ctx *fasthttp.RequestCtx) {
	n, err := length(ctx)
	if err != nil {
		log.Print(err)
		ctx.SetConnectionClose()
		return
	}
	ctx.SetBodyString(strconv.FormatInt(n, 10) + "\n")
}

// length reads the body of a request, which is in memory if it is small.
func length(ctx *fasthttp.RequestCtx) (int64, error) {
	if ctx.Request.IsBodyStream() {
		return io.Copy(io.Discard, ctx.RequestBodyStream())
	}
	return int64(len(ctx.Request.Body())), nil
}
