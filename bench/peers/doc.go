// Package peers has one echo server for each library that is compared with evmq, below it. Its tests run all of them.
package peers
