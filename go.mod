module github.com/evmq/evmq

go 1.26.0

require (
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/gobwas/httphead v0.1.0
	github.com/gobwas/ws v1.5.0
	github.com/klauspost/compress v1.20.4
	github.com/pires/go-proxyproto v0.15.0
	github.com/spf13/pflag v1.0.10
	golang.org/x/time v0.16.0
	pgregory.net/rapid v1.3.0
)
