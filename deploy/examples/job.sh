#!/bin/sh
echo "the nightly work is done"
