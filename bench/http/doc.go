// Package http has one HTTP server for each library that is compared with httpd, below it. Its tests run all of them.
package http
