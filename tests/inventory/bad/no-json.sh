#!/bin/sh
echo "Listing hosts..."
