"""An event loop."""
import asyncio


async def tick(n):
    await asyncio.sleep(0.001)
    return n


async def main():
    print(await asyncio.gather(*(tick(n) for n in range(3))))
    process = await asyncio.create_subprocess_exec("true")
    print(await process.wait())
    async with asyncio.timeout(5):
        print(await asyncio.to_thread(sum, [1, 2]))
    raise ValueError("out of the loop")


asyncio.run(main())
